// <select data-regions>: names its countries, whose values are ISO codes, in the language of the page.
"use strict";

document.addEventListener("DOMContentLoaded", () => {
  const lang = document.documentElement.lang || "en";
  const names = new Intl.DisplayNames([lang], { type: "region" });
  for (const select of document.querySelectorAll("select[data-regions]")) {
    for (const option of select.options) {
      if (/^[A-Z]{2}$/.test(option.value)) {
        option.textContent = `${option.value} – ${names.of(option.value)}`;
      }
    }
  }
});
