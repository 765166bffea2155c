// Paints what is in view. Statuses differ by colour and by pattern; the colours are the page's own.

import { AXIS, barsBetween, barTop, rowsBetween } from "./layout.js";

const TICK_WIDTH = 90;
const PATTERN_FROM = 5;
const SIZE = 8;

// What lies over the colour of a status, as lines in a square that repeats.
const PATTERNS = {
  failed: [[-2, 10, 10, -2], [-2, 2, 2, -2], [6, 10, 10, 6]],
  timeout: [[2, 0, 2, 8], [6, 0, 6, 8]],
  lost: [[-2, 10, 10, -2], [-2, -2, 10, 10]],
  cancelled: [[0, 2, 8, 2], [0, 6, 8, 6]],
  skipped: [[0, 4, 8, 4]],
};
const COLOURS = ["completed", "failed", "timeout", "lost", "cancelled", "skipped", "running", "dispatched", "pending"];

export class Painter {
  constructor(canvas, clock) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.clock = clock;
    this.readColours();
  }

  // Again when the look changes between light and dark.
  readColours() {
    const style = getComputedStyle(this.canvas);
    const colour = (name) => style.getPropertyValue(name).trim();
    this.colours = {
      line: colour("--hf-line"),
      page: colour("--hf-page"),
      soft: colour("--hf-soft"),
      text: colour("--hf-quiet"),
      strong: colour("--hf-strong"),
      now: colour("--hf-bad"),
      coming: colour("--hf-run-coming"),
      count: colour("--hf-run-count"),
      pattern: colour("--hf-run-pattern"),
    };
    this.fills = Object.fromEntries(COLOURS.map((name) => [name, this.fillOf(name, colour(`--hf-run-${name}`))]));
    this.font = `12px ${style.fontFamily}`;
  }

  fillOf(name, colour) {
    if (!PATTERNS[name]) {
      return { plain: colour, pattern: colour };
    }
    const tile = new OffscreenCanvas(SIZE, SIZE);
    const paint = tile.getContext("2d");
    paint.fillStyle = colour;
    paint.fillRect(0, 0, SIZE, SIZE);
    paint.strokeStyle = this.colours.pattern;
    paint.lineWidth = 1.5;
    paint.beginPath();
    for (const [x1, y1, x2, y2] of PATTERNS[name]) {
      paint.moveTo(x1, y1);
      paint.lineTo(x2, y2);
    }
    paint.stroke();
    return { plain: colour, pattern: this.context.createPattern(tile, "repeat") };
  }

  resize(width, height) {
    const scale = window.devicePixelRatio || 1;
    this.width = width;
    this.height = height;
    this.canvas.width = Math.round(width * scale);
    this.canvas.height = Math.round(height * scale);
    this.canvas.style.width = `${width}px`;
    this.canvas.style.height = `${height}px`;
    this.context.setTransform(scale, 0, 0, scale, 0, 0);
  }

  // `view` is {begin, end}, `picture` what layOut made, `chosen` a bar.
  paint({ view, picture, data, now, scroll, chosen }) {
    const { context, width, height, colours } = this;
    this.perMs = width / (view.end - view.begin);
    this.view = view;
    context.clearRect(0, 0, width, height);
    context.font = this.font;
    const ticks = this.clock.ticks(view.begin, view.end, Math.max(width / TICK_WIDTH, 2));
    const rows = rowsBetween(picture.rows, scroll + AXIS, scroll + height);
    context.save();
    context.translate(0, -scroll);
    for (const row of rows) {
      this.paintRow(row, row.number % 2 === 1);
    }
    context.restore();
    for (const tick of ticks) {
      this.paintLine(tick.at, colours.line, tick.isDay ? 2 : 1);
    }
    context.save();
    context.translate(0, -scroll);
    for (const row of rows) {
      if (picture.slotMs) {
        this.paintCounts(row, picture, data);
      }
      for (const bar of barsBetween(row, view.begin, view.end)) {
        this.paintBar(row, bar, now, bar === chosen);
      }
    }
    context.restore();
    this.paintLine(now, colours.now, 2);
    this.paintAxis(ticks, now);
  }

  x(at) {
    return (at - this.view.begin) * this.perMs;
  }

  paintRow(row, isOdd) {
    const { context, colours, width } = this;
    if (isOdd) {
      context.fillStyle = colours.soft;
      context.fillRect(0, row.top, width, row.height);
    }
    context.fillStyle = colours.line;
    context.fillRect(0, row.top + row.height - 1, width, 1);
  }

  paintLine(at, colour, thickness) {
    const x = Math.round(this.x(at));
    if (x >= -1 && x <= this.width) {
      this.context.fillStyle = colour;
      this.context.fillRect(x, AXIS, thickness, this.height);
    }
  }

  paintBar(row, bar, now, isChosen) {
    const { context, colours, width } = this;
    const end = bar.live ? Math.max(now, bar.begin) : bar.end;
    const left = Math.max(this.x(bar.begin), -4);
    const right = Math.min(this.x(end), width + 4);
    if (right < -2) {
      return;
    }
    const top = barTop(row, bar) + 1;
    const length = Math.max(right - left, 2);
    const height = Math.max(row.lane - 2, 3);
    if (bar.kind === "attempt") {
      const fill = this.fills[bar.status];
      context.fillStyle = length < PATTERN_FROM ? fill.plain : fill.pattern;
      context.fillRect(left, top, length, height);
      if (bar.live && length > PATTERN_FROM) {
        // It goes on: its end is open.
        context.fillStyle = colours.strong;
        context.fillRect(left + length - 2, top, 2, height);
      }
    } else if (length < PATTERN_FROM) {
      // Too short to be hollow.
      context.fillStyle = colours.coming;
      context.fillRect(left, top, 1, height);
    } else {
      context.strokeStyle = colours.coming;
      context.setLineDash(bar.kind === "task" ? [3, 2] : []);
      context.strokeRect(left + 0.5, top + 0.5, length - 1, height - 1);
      context.setLineDash([]);
    }
    if (isChosen) {
      context.strokeStyle = colours.strong;
      context.lineWidth = 2;
      context.strokeRect(left - 2, top - 2, length + 4, height + 4);
      context.lineWidth = 1;
    }
  }

  paintCounts(row, picture, data) {
    const { context, colours } = this;
    const room = row.height - 6;
    const width = Math.max(picture.slotMs * this.perMs - 1, 1);
    for (const cell of row.cells) {
      const left = this.x(data.begin + cell.slot * picture.slotMs);
      if (left + width < 0 || left > this.width) {
        continue;
      }
      // By the square root, so that few are seen beside many.
      const height = Math.max(room * Math.sqrt(cell.number / picture.most), 2);
      const failed = cell.failed ? Math.max((height * cell.failed) / cell.number, 2) : 0;
      const bottom = row.top + row.height - 3;
      context.fillStyle = colours.count;
      context.fillRect(left, bottom - height, width, height - failed);
      if (failed) {
        context.fillStyle = width < PATTERN_FROM ? this.fills.failed.plain : this.fills.failed.pattern;
        context.fillRect(left, bottom - failed, width, failed);
      }
    }
  }

  paintAxis(ticks, now) {
    const { context, colours, width } = this;
    context.fillStyle = colours.page;
    context.fillRect(0, 0, width, AXIS);
    context.fillStyle = colours.line;
    context.fillRect(0, AXIS - 1, width, 1);
    context.textBaseline = "middle";
    const at = this.x(now);
    for (const tick of ticks) {
      const x = this.x(tick.at);
      context.fillStyle = tick.isDay ? colours.strong : colours.text;
      // What would stand under the mark of now, or beyond the edge, is left out.
      if (Math.abs(x - at) > 40 && x + 36 < width) {
        context.fillText(tick.text, x + 4, AXIS / 2);
      }
    }
    if (at >= 0 && at <= width) {
      context.fillStyle = colours.now;
      context.beginPath();
      context.moveTo(at - 5, AXIS - 9);
      context.lineTo(at + 7, AXIS - 9);
      context.lineTo(at + 1, AXIS - 1);
      context.fill();
    }
  }

  // A square with the colour and pattern of a status, for a legend.
  swatch(name) {
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = 2 * SIZE;
    const paint = canvas.getContext("2d");
    if (this.fills[name]) {
      paint.fillStyle = this.fills[name].pattern;
      paint.fillRect(0, 0, 2 * SIZE, 2 * SIZE);
    } else {
      paint.strokeStyle = this.colours.coming;
      paint.strokeRect(0.5, 0.5, 2 * SIZE - 1, 2 * SIZE - 1);
    }
    return canvas;
  }
}
