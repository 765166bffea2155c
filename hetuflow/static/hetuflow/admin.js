// What every page of the admin needs: a question before what cannot be undone, and a button that copies.
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
