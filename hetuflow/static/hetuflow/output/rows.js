// Lines out of bytes. A row stands where its line began; what another stream printed meanwhile comes after it.
// A part of the output is {stream, offset, at, bytes}, a place {stdout, stderr}: how many bytes come before.

import { coloured } from "./text.js";

const LINE_FEED = 10;
const RETURN = 13;
// A line that is longer takes several rows.
const MAX_ROW_BYTES = 4096;
export const STREAMS = ["stdout", "stderr"];
export const MAX_ROWS = 4000;

export const total = (place) => place.stdout + place.stderr;

export const partOf = ({ stream, offset, at, data }) => {
  const text = atob(data);
  const bytes = new Uint8Array(text.length);
  for (let index = 0; index < text.length; index += 1) {
    bytes[index] = text.charCodeAt(index);
  }
  return { stream, offset, at, bytes };
};

const joined = (first, second) => {
  const both = new Uint8Array(first.length + second.length);
  both.set(first);
  both.set(second, first.length);
  return both;
};

// No character is torn apart.
const cutAt = (bytes, size) => {
  let cut = size;
  while (cut > size - 4 && (bytes[cut] & 0xc0) === 0x80) {
    cut -= 1;
  }
  return cut;
};

class Row {
  constructor(stream, offset, at, position, style) {
    Object.assign(this, { stream, offset, at, position, style });
    this.end = offset;
    this.bytes = new Uint8Array(0);
    this.isOpen = true;
    this.element = null;
  }

  get key() {
    return `${this.stream}-${this.offset}`;
  }

  // What it says, in pieces of one style; a character whose last bytes are not there yet is left out.
  get pieces() {
    return this.shown().pieces;
  }

  shown() {
    const text = new TextDecoder("utf-8", { ignoreBOM: true }).decode(this.bytes, { stream: this.isOpen });
    return coloured(text, this.style);
  }
}

// Makes rows of parts that follow on each other.
export class RowMaker {
  constructor(place) {
    this.place = { ...place };
    this.open = {};
    this.styles = {};
    this.returned = {};
  }

  // Returns the rows that are new, and the one that grew if there is one.
  add({ stream, at, bytes }) {
    const fresh = [];
    const grown = this.open[stream];
    let from = 0;
    if (this.returned[stream] && bytes[0] === LINE_FEED) {
      this.returned[stream].end += 1;
      this.place[stream] += 1;
      from = 1;
    }
    if (bytes.length) {
      this.returned[stream] = null;
    }
    while (from < bytes.length) {
      const row = this.open[stream] ?? this.begin(stream, at, fresh);
      from = this.fill(row, bytes, from);
    }
    return { fresh, grown };
  }

  begin(stream, at, fresh) {
    const row = new Row(stream, this.place[stream], at, total(this.place), this.styles[stream]);
    this.open[stream] = row;
    fresh.push(row);
    return row;
  }

  // Gives a row what belongs to it from index `from` on; returns where the next one begins.
  fill(row, bytes, from) {
    const room = MAX_ROW_BYTES - row.bytes.length;
    let until = from;
    while (until < bytes.length && until - from <= room && bytes[until] !== LINE_FEED && bytes[until] !== RETURN) {
      until += 1;
    }
    const isLong = until - from > room;
    if (isLong) {
      until = Math.max(cutAt(bytes, from + room), from);
    }
    row.bytes = joined(row.bytes, bytes.subarray(from, until));
    let next = until;
    if (isLong) {
      this.close(row);
    } else if (until < bytes.length) {
      next += bytes[until] === RETURN && bytes[until + 1] === LINE_FEED ? 2 : 1;
      this.close(row);
      this.returned[row.stream] = bytes[until] === RETURN && next === bytes.length ? row : null;
    }
    row.end += next - from;
    this.place[row.stream] += next - from;
    return next;
  }

  close(row) {
    row.isOpen = false;
    this.open[row.stream] = null;
    this.styles[row.stream] = row.shown().style;
  }

  // Forgets a row that is not shown any more: what comes next of its stream begins another one.
  forget(row, { isTakenBack }) {
    const { stream } = row;
    this.open[stream] = null;
    this.returned[stream] = null;
    if (isTakenBack) {
      this.place[stream] = row.offset;
      this.styles[stream] = row.style;
    }
  }
}

// The rows that are in the page, and between which places they lie: at most MAX_ROWS, whatever there is.
export class RowWindow {
  constructor() {
    this.reset({ begin: { stdout: 0, stderr: 0 }, end: { stdout: 0, stderr: 0 }, parts: [] });
  }

  // Replaces all rows by those of a page.
  reset(page) {
    this.rows = [];
    this.begin = { ...page.begin };
    this.maker = new RowMaker(page.begin);
    this.append(page.parts);
    // Of a stream that is left out, the page goes on where it says.
    this.maker.place = { ...page.end };
  }

  get end() {
    return this.maker.place;
  }

  // Adds parts at the end; returns the new rows and those that grew.
  append(parts) {
    const fresh = [];
    const grown = new Set();
    for (const part of parts) {
      const added = this.maker.add(part);
      for (const row of added.fresh) {
        fresh.push(row);
      }
      if (added.grown) {
        grown.add(added.grown);
      }
    }
    fresh.forEach((row) => grown.delete(row));
    for (const row of fresh) {
      this.rows.push(row);
    }
    return { fresh, grown };
  }

  // Adds a page before the beginning, or as much of its end as may be there at once; returns the new rows.
  prepend(page) {
    const before = new RowWindow();
    before.reset(page);
    before.dropFirst(before.rows.length - MAX_ROWS / 2);
    this.begin = before.begin;
    this.rows = before.rows.concat(this.rows);
    return before.rows;
  }

  // Takes rows away at the beginning; returns them.
  dropFirst(count) {
    const dropped = count > 0 ? this.rows.splice(0, count) : [];
    for (const row of dropped) {
      this.begin[row.stream] = row.end;
      if (row.isOpen && this.maker.open[row.stream] === row) {
        this.maker.forget(row, { isTakenBack: false });
      }
    }
    return dropped;
  }

  // Takes rows away at the end; returns them.
  dropLast(count) {
    const dropped = count > 0 ? this.rows.splice(-count, count) : [];
    for (const row of dropped.slice().reverse()) {
      this.maker.forget(row, { isTakenBack: true });
    }
    return dropped;
  }
}
