// Rows as elements of the page: when it was stored, which is a link to the line, and what it says.

import { paint } from "./text.js";

const element = (name, className, text = "") => {
  const made = document.createElement(name);
  made.className = className;
  made.textContent = text;
  return made;
};

export class RowElements {
  constructor(zone) {
    const time = { hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 3 };
    this.clock = new Intl.DateTimeFormat("en-GB", { ...time, timeZone: zone });
    this.day = new Intl.DateTimeFormat("sv-SE", { dateStyle: "short", timeZone: zone });
  }

  // Returns the element of a row, which the row knows from now on.
  make(row) {
    const made = element("div", row.stream === "stderr" ? "hf-row hf-row-stderr" : "hf-row");
    made.append(this.link(row));
    if (row.stream === "stderr") {
      made.append(element("span", "hf-unseen", "stderr: "));
    }
    const text = element("span", "hf-row-text");
    text.append(...row.pieces.map(({ text: piece, style }) => this.piece(piece, style)));
    made.append(text);
    row.element = made;
    return made;
  }

  link(row) {
    const link = element("a", "hf-row-at", this.clock.format(row.at));
    link.href = `#${row.key}`;
    link.tabIndex = -1;
    const utc = new Date(row.at).toISOString().replace("T", " ").replace("Z", " UTC");
    link.title = `${this.day.format(row.at)} ${link.textContent}, ${utc} · ${row.stream} ${row.offset}`;
    return link;
  }

  piece(text, style) {
    if (Object.keys(style).length === 0) {
      return document.createTextNode(text);
    }
    const made = element("span", "", text);
    paint(made, style);
    return made;
  }
}
