// What every page of the admin needs: a question before what cannot be undone, and parts that renew themselves.
"use strict";

document.addEventListener("submit", (event) => {
  const button = event.submitter;
  if (button && button.dataset.confirm && !window.confirm(button.dataset.confirm)) {
    event.preventDefault();
  }
});

// <div id="…" data-refresh-secs="2">: fetched again so often, as long as the fetched one says so, too.
document.addEventListener("DOMContentLoaded", () => {
  const find = (root) => root.querySelector("[data-refresh-secs]");

  const isBusy = (part) =>
    document.hidden || part.contains(document.activeElement) || !window.getSelection().isCollapsed;

  const renew = async () => {
    const part = find(document);
    try {
      if (!isBusy(part)) {
        const response = await fetch(window.location.href, { redirect: "error" });
        if (!response.ok) {
          throw new Error(`status ${response.status}`);
        }
        const page = new DOMParser().parseFromString(await response.text(), "text/html");
        const fresh = page.getElementById(part.id);
        if (fresh) {
          part.replaceWith(document.adoptNode(fresh));
        }
      }
    } catch (error) {
      console.warn("Hetuflow: this page cannot be renewed at the moment", error);
    }
    plan();
  };

  const plan = () => {
    const part = find(document);
    if (part) {
      window.setTimeout(renew, Number(part.dataset.refreshSecs) * 1000);
    }
  };

  plan();
});
