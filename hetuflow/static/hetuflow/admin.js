// What every page of the admin needs: a question before what cannot be undone, a button that copies, and parts that
// renew themselves.
"use strict";

document.addEventListener("submit", (event) => {
  const button = event.submitter;
  if (button && button.dataset.confirm && !window.confirm(button.dataset.confirm)) {
    event.preventDefault();
  }
});

// What htmx cannot load says so in its place: <div hx-get="…" data-failed="…">.
for (const name of ["htmx:responseError", "htmx:sendError"]) {
  document.addEventListener(name, (event) => {
    const part = event.target;
    if (part.dataset && part.dataset.failed) {
      const said = document.createElement("p");
      said.className = "hf-error";
      said.setAttribute("role", "alert");
      said.textContent = part.dataset.failed;
      part.removeAttribute("aria-busy");
      part.replaceChildren(said);
    }
  });
}

// <button data-copy="ID">: copies the text of that element, and says so for a moment.
document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) {
    return;
  }
  const source = document.getElementById(button.dataset.copy);
  const label = button.querySelector("[data-copy-label]");
  try {
    await navigator.clipboard.writeText(source.textContent);
  } catch {
    // Browsers give the clipboard to pages over HTTPS and on this machine alone; this older way works everywhere.
    window.getSelection().selectAllChildren(source);
    document.execCommand("copy");
    window.getSelection().removeAllRanges();
  }
  const before = label.textContent;
  if (before !== button.dataset.copied) {
    label.textContent = button.dataset.copied;
    window.setTimeout(() => {
      label.textContent = before;
    }, 2000);
  }
});

// <div id="…" data-refresh-secs="2" data-refresh-url="…">: fetched again so often, from this page unless it names
// another one, as long as the fetched one says so, too.
document.addEventListener("DOMContentLoaded", () => {
  const find = (root) => root.querySelector("[data-refresh-secs]");

  const isSelected = (part) => {
    const selection = window.getSelection();
    return !selection.isCollapsed && selection.containsNode(part, true);
  };

  const isBusy = (part) => document.hidden || part.contains(document.activeElement) || isSelected(part);

  const renew = async () => {
    const part = find(document);
    try {
      if (!isBusy(part)) {
        const response = await fetch(part.dataset.refreshUrl || window.location.href, { redirect: "error" });
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
