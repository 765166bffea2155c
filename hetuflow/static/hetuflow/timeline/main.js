// The timeline: keeps what is in view, lets it be moved, and puts picture, labels, card and table together.

import { Painter } from "./draw.js";
import { listen } from "./gestures.js";
import { AXIS, barAt, barsBetween, barTop, layOut, rowAt, rowsBetween } from "./layout.js";
import { Source } from "./source.js";
import { Teller, fill } from "./telling.js";
import { Clock } from "./time.js";

const SECOND = 1000;
const HOUR = 3600 * SECOND;
const DAY = 24 * HOUR;
const SHORTEST = SECOND;
const LONGEST = 250 * DAY;
const FARTHEST_AHEAD = 30 * DAY;
const HIT_PIXELS = 4;

const find = (name) => document.querySelector(`[data-timeline="${name}"]`);

class Timeline {
  constructor(config) {
    this.config = config;
    this.form = find("form");
    this.scroller = find("scroller");
    this.labels = find("labels");
    this.card = find("card");
    this.table = find("table");
    this.clock = new Clock(config.zone);
    this.painter = new Painter(find("canvas"), this.clock);
    this.teller = new Teller({ config, clock: this.clock, by: () => this.field("by") });
    this.picture = { rows: [], height: AXIS, most: 0, slotMs: 0 };
    this.offset = 0;
    this.chosen = null;
    this.isLive = config.begin === null;
    this.view = { begin: config.begin, end: config.end };
    this.source = new Source({
      url: config.url,
      statuses: config.statuses,
      asked: () => this.filters(),
      show: (data) => this.show(data),
      fail: (isFailing) => this.say(isFailing ? config.words.failed_to_load : ""),
    });
    this.connect();
    if (this.isLive) {
      this.lookAtHours(config.hours);
    }
    this.resize();
    this.moved({ anew: true });
    this.tick();
  }

  // --- what is in view ---------------------------------------------------------------------------------

  // The server's clock, as of its last answer.
  now() {
    return Date.now() + this.offset;
  }

  lookAtHours(hours) {
    const now = this.now();
    const ahead = (hours * HOUR * this.config.ahead) / (1 - this.config.ahead);
    this.view = { begin: now - hours * HOUR, end: now + ahead };
    this.isLive = true;
    this.moved();
  }

  pan(share) {
    const by = (this.view.end - this.view.begin) * share;
    this.lookAt(this.view.begin + by, this.view.end + by);
  }

  zoom(factor, x) {
    const { begin, end } = this.view;
    const length = Math.min(Math.max((end - begin) / factor, SHORTEST), LONGEST);
    const now = this.now();
    // What is followed keeps now where it is; else what lies under the pointer stays there.
    const share = this.isLive ? (now - begin) / (end - begin) : (x ?? this.painter.width / 2) / this.painter.width;
    const middle = begin + share * (end - begin);
    this.lookAt(middle - share * length, middle - share * length + length, this.isLive);
  }

  lookAt(begin, end, isLive = false) {
    const late = Math.max(end - this.now() - FARTHEST_AHEAD, 0);
    const early = Math.max(late - begin, 0);
    this.view = { begin: begin - late + early, end: end - late + early };
    this.isLive = isLive;
    this.moved();
  }

  moved(how) {
    find("live").setAttribute("aria-pressed", String(this.isLive));
    const length = this.view.end - this.view.begin;
    for (const button of document.querySelectorAll("[data-hours]")) {
      const wanted = (button.dataset.hours * HOUR) / (1 - this.config.ahead);
      button.setAttribute("aria-pressed", String(this.isLive && Math.abs(wanted - length) < 1));
    }
    this.source.want(this.view, how);
    this.remember();
    this.draw();
  }

  // Lets the address lead here again.
  remember() {
    window.clearTimeout(this.remembering);
    this.remembering = window.setTimeout(() => {
      const given = Object.entries(this.filters()).filter(([, value]) => value);
      const query = new URLSearchParams(given);
      const pressed = document.querySelector('[data-hours][aria-pressed="true"]');
      if (pressed) {
        query.set("hours", pressed.dataset.hours);
      } else {
        query.set("begin", Math.round(this.view.begin));
        query.set("end", Math.round(this.view.end));
      }
      window.history.replaceState(null, "", `?${query}`);
      find("from").value = this.clock.field(this.view.begin);
      find("to").value = this.clock.field(this.view.end);
    }, 300);
  }

  // What is followed moves on, what runs grows; drawn no more often than one sees.
  tick() {
    window.requestAnimationFrame(() => {
      const now = this.now();
      const { begin, end } = this.view;
      const moves = ((now - (this.ticked || now)) / (end - begin)) * this.painter.width;
      if (!this.ticked || moves > 0.5) {
        if (this.isLive && this.ticked) {
          const by = now - this.ticked;
          this.view = { begin: begin + by, end: end + by };
          this.source.want(this.view);
        }
        this.ticked = now;
        if (begin <= now && now <= end) {
          this.draw();
        }
      }
      if (begin <= now && now <= end) {
        this.source.refresh(this.view);
      }
      this.tick();
    });
  }

  // --- filters -----------------------------------------------------------------------------------------

  field(name) {
    return new FormData(this.form).get(name) || "";
  }

  filters() {
    return Object.fromEntries(["by", "namespace", "job", "agent", "status"].map((name) => [name, this.field(name)]));
  }

  // --- the picture -------------------------------------------------------------------------------------

  show(data) {
    const chosen = this.chosen && this.chosen.id;
    this.offset = data.now - Date.now();
    this.data = data;
    this.picture = layOut(data);
    this.chosen = this.picture.rows.flatMap((row) => row.bars).find((bar) => chosen && bar.id === chosen) || null;
    find("space").style.height = `${this.picture.height}px`;
    this.resize();
    this.tell();
    this.draw();
  }

  // Says in words what the picture shows.
  tell() {
    const { words } = this.config;
    const { data, picture, view, clock } = this;
    const number = data.slots ? data.counts.reduce((sum, count) => sum + count[2], 0) : data.bars.length;
    const [begin, end] = [clock.full(view.begin), clock.full(view.end)];
    const notes = [];
    if (data.slots) {
      notes.push(fill(words.dense, { n: data.most }));
    }
    if (!data.coming_is_all) {
      notes.push(words.coming_cut);
    }
    const isEmpty = !number && !data.coming.length;
    if (number) {
      find("empty")?.remove();
    }
    find("note").textContent = isEmpty ? words.nothing : notes.join(" ");
    this.painter.canvas.setAttribute(
      "aria-label",
      fill(words.summary, { begin, end, n: number, rows: picture.rows.length }),
    );
    this.fillTable();
  }

  fillTable() {
    if (this.table.open && this.data) {
      const cut = this.teller.table(find("body"), this.picture, this.view, this.now());
      find("table-note").textContent = cut ? fill(this.config.words.more_rows, { n: cut }) : "";
    }
  }

  say(text) {
    const problem = find("problem");
    problem.textContent = text;
    problem.hidden = !text;
  }

  resize() {
    const width = this.scroller.clientWidth - this.labels.offsetWidth;
    this.painter.resize(Math.max(width, 50), this.scroller.clientHeight);
  }

  draw() {
    if (this.drawing) {
      return;
    }
    this.drawing = window.requestAnimationFrame(() => {
      this.drawing = 0;
      const { view, picture, data, chosen } = this;
      this.painter.paint({ view, picture, data, now: this.now(), scroll: this.scroller.scrollTop, chosen });
      this.writeLabels();
    });
  }

  // Only the labels in view are in the page.
  writeLabels() {
    const { scrollTop, clientHeight } = this.scroller;
    const rows = rowsBetween(this.picture.rows, scrollTop, scrollTop + clientHeight);
    const shown = rows.map((row) => `${row.number}:${row.top}:${row.height}:${row.label}:${row.note}`).join("\n");
    if (shown !== this.labelled) {
      this.labelled = shown;
      this.labels.replaceChildren(...rows.map((row) => this.labelOf(row)));
    }
  }

  labelOf(row) {
    const label = document.createElement("div");
    label.className = "hf-gantt-label";
    label.style.top = `${row.top}px`;
    label.style.height = `${row.height}px`;
    const name = document.createElement(row.url ? "a" : "span");
    if (row.url) {
      name.href = row.url;
    }
    name.textContent = row.label;
    name.title = row.label;
    const note = document.createElement("span");
    note.className = "hf-sub";
    note.textContent = row.slots ? `${row.note} · ${row.slots} ${this.config.words.slots}` : row.note;
    label.append(name, note);
    return label;
  }

  // --- choosing ----------------------------------------------------------------------------------------

  // What lies under a place of the canvas: a row, and a bar of it or a number of runs.
  at(x, y) {
    const row = y < AXIS ? null : rowAt(this.picture.rows, y + this.scroller.scrollTop);
    if (!row) {
      return {};
    }
    const perPixel = (this.view.end - this.view.begin) / this.painter.width;
    const instant = this.view.begin + x * perPixel;
    const bar = barAt(row, y + this.scroller.scrollTop, instant, HIT_PIXELS * perPixel, this.now());
    const slot = Math.floor((instant - this.data.begin) / this.picture.slotMs);
    const cell = this.picture.slotMs ? row.cells.find((each) => each.slot === slot) : null;
    return { row, bar, cell };
  }

  hover(x, y) {
    const { row, bar, cell } = this.at(x, y);
    this.painter.canvas.style.cursor = bar || cell ? "pointer" : "grab";
    if (bar) {
      this.showCard(this.teller.barCard(bar, row, this.now()), x, y);
    } else if (cell) {
      this.showCard(this.teller.cellCard(cell, row, this.picture, this.data), x, y);
    } else {
      this.clear();
    }
  }

  showCard(content, x, y) {
    const { card, scroller, labels } = this;
    card.replaceChildren(content);
    card.hidden = false;
    const left = Math.min(labels.offsetWidth + x + 14, scroller.clientWidth - card.offsetWidth - 4);
    const top = y + 14 + card.offsetHeight > scroller.clientHeight ? y - card.offsetHeight - 10 : y + 14;
    card.style.left = `${Math.max(left, 4)}px`;
    card.style.top = `${Math.max(top, 4)}px`;
  }

  press(x, y, event) {
    const { row, bar, cell } = this.at(x, y);
    if (cell) {
      const begin = this.data.begin + cell.slot * this.picture.slotMs;
      this.lookAt(begin, begin + this.picture.slotMs);
    } else if (bar && event.pointerType === "mouse") {
      this.open(bar, event.ctrlKey || event.metaKey);
    } else if (bar) {
      // A finger has shown nothing before, so it shows the card, with a link in it.
      this.choose(bar, row);
    } else {
      this.clear();
      this.draw();
    }
  }

  choose(bar, row) {
    this.chosen = bar;
    if (bar.begin > this.view.end || bar.end < this.view.begin) {
      const half = (this.view.end - this.view.begin) / 2;
      this.lookAt(bar.begin - half, bar.begin + half);
    }
    const { scroller } = this;
    if (row.top - AXIS < scroller.scrollTop || row.top + row.height > scroller.scrollTop + scroller.clientHeight) {
      scroller.scrollTop = row.top - AXIS;
    }
    const x = ((bar.begin - this.view.begin) / (this.view.end - this.view.begin)) * this.painter.width;
    const y = barTop(row, bar) - scroller.scrollTop + row.lane;
    this.showCard(this.teller.barCard(bar, row, this.now()), Math.max(x, 0), y);
    find("said").textContent = this.teller.sentence(bar, row, this.now());
    this.draw();
  }

  // The bar before or after the chosen one in its row; at first the last one in view.
  step(by) {
    const { rows } = this.picture;
    const row = this.chosen ? rows[this.chosen.row] : rows.find((each) => each.bars.length);
    if (row) {
      const number = this.chosen ? row.bars.indexOf(this.chosen) + by : this.lastSeen(row);
      const bar = row.bars[number];
      if (bar) {
        this.choose(bar, row);
      }
    }
  }

  row(by) {
    const { rows } = this.picture;
    let number = this.chosen ? this.chosen.row + by : 0;
    while (rows[number] && !rows[number].bars.length) {
      number += by;
    }
    const row = rows[number];
    if (row && row.bars.length) {
      this.choose(row.bars[this.lastSeen(row)], row);
    }
  }

  lastSeen(row) {
    const last = barsBetween(row, this.view.begin, this.view.end).at(-1);
    return last ? row.bars.indexOf(last) : row.bars.length - 1;
  }

  open(bar, isElsewhere) {
    if (isElsewhere) {
      window.open(this.teller.address(bar), "_blank", "noopener");
    } else {
      window.location.assign(this.teller.address(bar));
    }
  }

  clear() {
    this.chosen = null;
    this.card.hidden = true;
  }

  // --- what people press -------------------------------------------------------------------------------

  connect() {
    listen(this.painter.canvas, {
      pan: (share) => this.pan(share),
      zoom: (factor, x) => this.zoom(factor, x),
      hover: (x, y) => this.hover(x, y),
      press: (x, y, event) => this.press(x, y, event),
      leave: () => this.clear(),
      step: (by) => this.step(by),
      row: (by) => this.row(by),
      open: () => this.chosen && this.open(this.chosen),
      clear: () => this.clear(),
      live: () => this.follow(),
      now: () => this.follow(),
    });
    for (const button of document.querySelectorAll("[data-hours]")) {
      button.addEventListener("click", () => this.lookAtHours(Number(button.dataset.hours)));
    }
    find("live").addEventListener("click", () => this.follow());
    find("in").addEventListener("click", () => this.zoom(1.5));
    find("out").addEventListener("click", () => this.zoom(1 / 1.5));
    find("earlier").addEventListener("click", () => this.pan(-0.5));
    find("later").addEventListener("click", () => this.pan(0.5));
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      const [begin, end] = ["from", "to"].map((name) => this.clock.fromField(find(name).value));
      if (begin !== null && end !== null && begin < end && end - begin <= LONGEST) {
        this.lookAt(begin, end);
      }
    });
    this.form.addEventListener("change", (event) => event.target.name && this.moved({ anew: true }));
    this.form.addEventListener("input", (event) => event.target.name && this.moved({ anew: true }));
    this.table.addEventListener("toggle", () => this.fillTable());
    this.scroller.addEventListener("scroll", () => this.draw());
    new ResizeObserver(() => {
      // The card stands beside what was somewhere else.
      this.clear();
      this.resize();
      this.draw();
    }).observe(this.scroller);
    new MutationObserver(() => this.paintLegend()).observe(document.documentElement, { attributeFilter: ["class"] });
    this.paintLegend();
  }

  follow() {
    const length = this.view.end - this.view.begin;
    this.lookAt(this.now() - length * (1 - this.config.ahead), this.now() + length * this.config.ahead, true);
  }

  paintLegend() {
    this.painter.readColours();
    for (const item of document.querySelectorAll("[data-swatch]")) {
      item.replaceChildren(this.painter.swatch(item.dataset.swatch));
    }
    this.draw();
  }
}

new Timeline(JSON.parse(document.getElementById("hf-timeline-config").textContent));
