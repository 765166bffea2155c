// <div data-live-url="…" data-live-form="ID">: shows what the server says of the form as it is filled in.
// Elements with data-error-for="ID" in the answer mark that field, and are said beside it as well.
"use strict";

document.addEventListener("DOMContentLoaded", () => {
  const PAUSE_MS = 350;
  const panel = document.querySelector("[data-live-url]");
  const form = panel && document.getElementById(panel.dataset.liveForm);
  if (!form) {
    return;
  }
  let timer = 0;
  let asked = null;

  const mark = () => {
    for (const old of form.querySelectorAll("[data-live-error]")) {
      old.remove();
    }
    for (const field of form.querySelectorAll("[data-live-invalid]")) {
      field.setAttribute("aria-describedby", field.dataset.liveInvalid);
      field.removeAttribute("data-live-invalid");
      field.removeAttribute("aria-invalid");
    }
    for (const error of panel.querySelectorAll("[data-error-for]")) {
      const field = error.dataset.errorFor && document.getElementById(error.dataset.errorFor);
      if (field) {
        const said = document.createElement("p");
        said.id = `${field.id}_live_error`;
        said.className = "hf-field-error";
        said.dataset.liveError = "";
        said.textContent = (error.querySelector("span") || error).textContent;
        const described = field.getAttribute("aria-describedby") || "";
        field.setAttribute("data-live-invalid", described);
        field.setAttribute("aria-invalid", "true");
        field.setAttribute("aria-describedby", `${said.id} ${described}`.trim());
        (field.closest(".hf-editor") || field).after(said);
      }
    }
  };

  const ask = async () => {
    if (asked) {
      asked.abort();
    }
    asked = new AbortController();
    try {
      const response = await fetch(panel.dataset.liveUrl, {
        method: "POST",
        body: new FormData(form),
        redirect: "error",
        signal: asked.signal,
      });
      if (!response.ok) {
        throw new Error(`status ${response.status}`);
      }
      const page = new DOMParser().parseFromString(await response.text(), "text/html");
      panel.replaceChildren(...[...page.body.childNodes].map((node) => document.adoptNode(node)));
      mark();
    } catch (error) {
      if (error.name !== "AbortError") {
        console.warn("Hetuflow: what the form would do cannot be shown at the moment", error);
      }
    }
  };

  const plan = () => {
    window.clearTimeout(timer);
    timer = window.setTimeout(ask, PAUSE_MS);
  };

  form.addEventListener("input", plan);
  form.addEventListener("change", plan);
  // Selects with a search, and the pickers of dates and times, tell of a choice in ways of their own.
  if (window.django && window.django.jQuery) {
    window.django.jQuery(form).on("change", plan);
  }
  form.addEventListener("focusout", plan);
  panel.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-live-set]");
    if (link) {
      event.preventDefault();
      panel.dataset.liveUrl = link.dataset.liveSet;
      ask();
    }
  });
  if ("liveAtOnce" in panel.dataset) {
    ask();
  }
});
