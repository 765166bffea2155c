// <ol data-roving>: a row of links that is one stop of the Tab key; arrows, Home and End go along it. It begins at the end.
"use strict";

(() => {
  const linksOf = (row) => [...row.querySelectorAll("a")].filter((link) => link.offsetParent);

  const settle = (row, current) => {
    const links = linksOf(row);
    const stop = links.includes(current) ? current : links[links.length - 1];
    for (const link of links) {
      link.tabIndex = link === stop ? 0 : -1;
    }
  };

  const settleAll = () => {
    for (const row of document.querySelectorAll("[data-roving]")) {
      settle(row, document.activeElement);
    }
  };

  document.addEventListener("keydown", (event) => {
    const row = event.target.closest("[data-roving]");
    if (!row || event.ctrlKey || event.metaKey || event.altKey) {
      return;
    }
    const links = linksOf(row);
    const at = links.indexOf(event.target);
    const to = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: links.length - 1 }[event.key];
    if (at >= 0 && links[to]) {
      event.preventDefault();
      settle(row, links[to]);
      links[to].focus();
    }
  });

  document.addEventListener("DOMContentLoaded", settleAll);
  document.addEventListener("hf:renewed", settleAll);
})();
