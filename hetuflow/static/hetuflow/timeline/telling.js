// A bar, or a number of runs, in words: for the card beside the pointer, for the table, and for those who listen.

import { barsBetween } from "./layout.js";
import { duration, utc } from "./time.js";

const TABLE_ROWS = 200;

export const fill = (text, values) => text.replace(/\{(\w+)\}/g, (_all, name) => values[name]);

const element = (name, text, className) => {
  const made = document.createElement(name);
  made.textContent = text;
  if (className) {
    made.className = className;
  }
  return made;
};

export class Teller {
  constructor({ config, clock, by }) {
    Object.assign(this, { config, clock, by, words: config.words });
    this.labels = Object.fromEntries(config.statuses.map(({ name, label }) => [name, label]));
  }

  address(bar) {
    const { attempts, tasks, schedules } = this.config;
    const base = { attempt: attempts, task: tasks, schedule: schedules }[bar.kind];
    return `${base}${bar.id}/change/`;
  }

  state(bar) {
    const { words } = this;
    return { task: words.waits, schedule: words.planned }[bar.kind] || this.labels[bar.status];
  }

  // The names of a bar's job and agent; what is to come has none yet.
  names(bar, row) {
    if (this.by() === "job") {
      return [row.label, bar.other || ""];
    }
    return [bar.other || "", bar.kind === "attempt" ? row.label : ""];
  }

  // Returns [what, value] of all that is told of a bar, and of an instant also when that is.
  facts(bar, row, now) {
    const { words, clock } = this;
    const [job, agent] = this.names(bar, row);
    const facts = [[words.job, job]];
    if (bar.kind !== "attempt") {
      facts.push([bar.kind === "task" ? words.waiting_since : words.planned, clock.full(bar.begin), bar.begin]);
      return facts.filter(([, value]) => value);
    }
    const end = bar.live ? now : bar.end;
    facts.push([words.agent, agent], [words.started, clock.full(bar.begin), bar.begin]);
    facts.push([bar.live ? words.runs : words.ran, duration(end - bar.begin)]);
    return facts.filter(([, value]) => value);
  }

  // An element that says UTC when it is pointed at.
  instant(name, text, at) {
    const made = element(name, text);
    made.title = utc(at);
    return made;
  }

  sentence(bar, row, now) {
    const facts = this.facts(bar, row, now).map(([what, value]) => `${what} ${value}`);
    return [`${bar.name} ${this.state(bar)}`.trim(), ...facts].join(", ");
  }

  barCard(bar, row, now) {
    const card = document.createDocumentFragment();
    const link = element("a", bar.name || this.words.open, "hf-gantt-name");
    link.href = this.address(bar);
    card.append(link, element("span", this.state(bar), `hf-gantt-state hf-gantt-${bar.status || "coming"}`));
    const list = document.createElement("dl");
    for (const [what, value, at] of this.facts(bar, row, now)) {
      list.append(element("dt", what), at ? this.instant("dd", value, at) : element("dd", value));
    }
    card.append(list);
    return card;
  }

  cellCard(cell, row, picture, data) {
    const { words, clock } = this;
    const begin = data.begin + cell.slot * picture.slotMs;
    const card = document.createDocumentFragment();
    card.append(element("strong", row.label));
    card.append(element("p", `${clock.full(begin)} – ${clock.time(begin + picture.slotMs, true)}`));
    card.append(element("p", fill(cell.isMore ? words.counted_more : words.counted, { n: cell.number })));
    if (cell.failed) {
      card.append(element("p", fill(words.failed, { n: cell.failed })));
    }
    card.append(element("p", words.closer, "hf-sub"));
    return card;
  }

  // Fills the body of the table with what is in view, the newest first, or with sums where runs are counted.
  table(body, picture, view, now) {
    if (picture.slotMs) {
      body.replaceChildren(...picture.rows.filter((row) => row.cells.length).map((row) => this.sums(row)));
      return 0;
    }
    const found = picture.rows.flatMap((row) =>
      barsBetween(row, view.begin, view.end)
        .filter((bar) => bar.live || bar.end >= view.begin)
        .map((bar) => ({ bar, row })),
    );
    // What is to come stands at the end, the next first.
    const isComing = ({ bar }) => bar.kind !== "attempt";
    const order = (a, b) => (isComing(a) ? a.bar.begin - b.bar.begin : b.bar.begin - a.bar.begin);
    found.sort((a, b) => isComing(a) - isComing(b) || order(a, b));
    body.replaceChildren(...found.slice(0, TABLE_ROWS).map(({ bar, row }) => this.line(bar, row, now)));
    return found.length > TABLE_ROWS ? TABLE_ROWS : 0;
  }

  line(bar, row, now) {
    const line = document.createElement("tr");
    const link = element("a", bar.name || this.words.open);
    link.href = this.address(bar);
    const cell = document.createElement("td");
    cell.append(link);
    const length = bar.kind === "attempt" ? duration((bar.live ? now : bar.end) - bar.begin) : "";
    const texts = [...this.names(bar, row), this.state(bar)];
    line.append(cell, ...texts.map((text) => element("td", text)));
    line.append(this.instant("td", this.clock.full(bar.begin), bar.begin), element("td", length));
    return line;
  }

  sums(row) {
    const total = row.cells.reduce((sum, { number }) => sum + number, 0);
    const failed = row.cells.reduce((sum, cell) => sum + cell.failed, 0);
    const words = row.cells.some(({ isMore }) => isMore) ? this.words.counted_more : this.words.counted;
    const line = document.createElement("tr");
    const told = `${fill(words, { n: total })}, ${fill(this.words.failed, { n: failed })}`;
    line.append(element("td", ""), element("td", row.label), element("td", ""), element("td", told));
    line.lastChild.colSpan = 3;
    return line;
  }
}
