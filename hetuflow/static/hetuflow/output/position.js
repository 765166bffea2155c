// Where in the output one is: the rail beside it, and the words below.

import { total } from "./rows.js";

const sizeWords = (bytes) => {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return unit === 0 ? `${value} B` : `${value.toFixed(1)} ${units[unit]}`;
};

export class Position {
  constructor(viewer) {
    this.viewer = viewer;
    this.rail = viewer.find("rail");
    this.isSliding = false;
    this.frame = 0;
    this.rail.addEventListener("input", () => {
      this.isSliding = true;
    });
    this.rail.addEventListener("change", () => {
      this.isSliding = false;
      viewer.showAround({ at: this.rail.value });
    });
  }

  // The row at the top of what one sees.
  firstVisible() {
    const { rows } = this.viewer.window;
    const { top } = this.viewer.log.getBoundingClientRect();
    let [low, high] = [0, rows.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (rows[middle].element.getBoundingClientRect().bottom > top) {
        high = middle;
      } else {
        low = middle + 1;
      }
    }
    return rows[Math.min(low, rows.length - 1)];
  }

  // Shows it with the next frame.
  show() {
    this.frame ||= window.requestAnimationFrame(() => {
      this.frame = 0;
      this.draw();
    });
  }

  draw() {
    const { viewer, rail } = this;
    const size = viewer.stream ? viewer.size[viewer.stream] : total(viewer.size);
    const isWhole = !viewer.hasBefore && !viewer.hasBehind;
    const position = viewer.isAtEnd && !viewer.hasBehind ? size : this.positionOf(this.firstVisible());
    rail.hidden = isWhole;
    rail.max = String(Math.max(1, size));
    if (!this.isSliding) {
      rail.value = String(position);
    }
    const text = viewer.texts.position.replace("{position}", sizeWords(position)).replace("{size}", sizeWords(size));
    rail.setAttribute("aria-valuetext", text);
    viewer.find("position").textContent = isWhole ? sizeWords(size) : text;
    const lacking = viewer.isFollowing ? 0 : total(viewer.size) - total(viewer.window.end);
    viewer.find("lacking").textContent = viewer.isLive && lacking > 0 ? `+${sizeWords(lacking)}` : "";
  }

  positionOf(row) {
    if (!row) {
      return 0;
    }
    return this.viewer.stream ? row.offset : row.position;
  }
}
