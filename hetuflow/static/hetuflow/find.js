// <button data-find="URL">, and Ctrl or ⌘ and K from anywhere: a dialog that finds things by what the server answers of
// them, as options of a list, while one types.
"use strict";

document.addEventListener("DOMContentLoaded", () => {
  const PAUSE_MS = 120;
  const button = document.querySelector("[data-find]");
  if (!button) {
    return;
  }
  let dialog = null;
  let input = null;
  let timer = 0;
  let asked = null;

  const options = () => [...dialog.querySelectorAll("[role=option]")];

  const choose = (place) => {
    const all = options();
    const chosen = all.length ? all[(place + all.length) % all.length] : null;
    for (const option of all) {
      option.setAttribute("aria-selected", String(option === chosen));
    }
    if (chosen) {
      input.setAttribute("aria-activedescendant", chosen.id);
      chosen.scrollIntoView({ block: "nearest" });
    } else {
      input.removeAttribute("aria-activedescendant");
    }
  };

  const chosenPlace = () => options().findIndex((option) => option.ariaSelected === "true");

  const ask = async () => {
    if (asked) {
      asked.abort();
    }
    asked = new AbortController();
    const query = new URLSearchParams({ q: input.value });
    try {
      const response = await fetch(`${button.dataset.find}?${query}`, { redirect: "error", signal: asked.signal });
      if (!response.ok) {
        throw new Error(`status ${response.status}`);
      }
      const answer = new DOMParser().parseFromString(await response.text(), "text/html");
      dialog.querySelector("[data-find-answer]").replaceChildren(...answer.body.children);
      choose(0);
    } catch (error) {
      if (error.name !== "AbortError") {
        dialog.querySelector("#hf-found-said").textContent = input.dataset.lost;
      }
    }
  };

  const press = (event) => {
    const moves = { ArrowDown: 1, ArrowUp: -1 };
    if (event.key in moves) {
      event.preventDefault();
      choose(chosenPlace() + moves[event.key]);
    } else if (event.key === "Enter" && !event.isComposing) {
      event.preventDefault();
      const chosen = options()[chosenPlace()];
      if (chosen && (event.ctrlKey || event.metaKey)) {
        window.open(chosen.href, "_blank");
      } else if (chosen) {
        window.location.assign(chosen.href);
      }
    }
  };

  const build = () => {
    document.body.append(document.getElementById("hf-find-dialog").content.cloneNode(true));
    dialog = document.querySelector("dialog.hf-find");
    input = dialog.querySelector("input");
    input.addEventListener("input", () => {
      window.clearTimeout(timer);
      timer = window.setTimeout(ask, PAUSE_MS);
    });
    input.addEventListener("keydown", press);
    dialog.addEventListener("click", (event) => {
      if (event.target === dialog) {
        dialog.close();
      }
    });
  };

  const open = () => {
    if (!dialog) {
      build();
    }
    if (!dialog.open) {
      dialog.showModal();
    }
    input.focus();
    input.select();
  };

  if (/Mac|iPhone|iPad/.test(navigator.platform)) {
    document.querySelector("[data-find-keys]").textContent = "⌘ K";
  }
  button.addEventListener("click", open);
  document.addEventListener("keydown", (event) => {
    if ((event.ctrlKey || event.metaKey) && !event.altKey && !event.shiftKey && event.key.toLowerCase() === "k") {
      event.preventDefault();
      open();
    }
  });
});
