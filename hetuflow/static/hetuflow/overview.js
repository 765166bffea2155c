// <… data-countdown="INSTANT" data-due="…">: counts down to it by the server's clock, which the overview brings along.
"use strict";

(() => {
  const DAY_SECS = 86400;
  let aheadMs = 0;

  const readClock = () => {
    const part = document.getElementById("hf-overview");
    aheadMs = Date.now() - Date.parse(part.dataset.now);
  };

  const written = (secs) => {
    const parts = [Math.floor(secs / 3600), Math.floor(secs / 60) % 60, secs % 60];
    const shown = parts[0] ? parts : parts.slice(1);
    return shown.map((number, place) => (place ? String(number).padStart(2, "0") : number)).join(":");
  };

  const tick = () => {
    for (const place of document.querySelectorAll("[data-countdown]")) {
      const secs = Math.ceil((Date.parse(place.dataset.countdown) - Date.now() + aheadMs) / 1000);
      if (secs < DAY_SECS) {
        const text = secs > 0 ? written(secs) : place.dataset.due;
        if (place.textContent !== text) {
          place.textContent = text;
        }
      }
    }
  };

  document.addEventListener("DOMContentLoaded", () => {
    readClock();
    tick();
    window.setInterval(tick, 1000);
    document.addEventListener("hf:renewed", () => {
      readClock();
      tick();
    });
  });
})();
