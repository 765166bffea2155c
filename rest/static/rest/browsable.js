// The browsable API: forms send JSON and show the answer below themselves; the filter panel makes the address.
"use strict";

const csrf = document.body.dataset.csrf;
const MANY = ["in", "not_in"];

async function read(response) {
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  return page.querySelector("#answer");
}

async function send(form) {
  const method = form.dataset.method;
  const body = form.querySelector("textarea")?.value;
  const headers = { Accept: "text/html", "X-CSRFToken": csrf };
  if (body !== undefined) {
    headers["Content-Type"] = "application/json";
  }
  const outcome = form.parentElement.querySelector(".outcome");
  const button = form.querySelector("button");
  button.disabled = true;
  outcome.hidden = false;
  outcome.textContent = "…";
  try {
    const response = await fetch(form.action, { method, headers, body, credentials: "same-origin" });
    const answer = await read(response);
    if (method === "DELETE" && response.ok) {
      location.assign(form.action.replace(/\/[^/]*$/, ""));
      return;
    }
    outcome.replaceChildren(...(answer ? answer.childNodes : [`${response.status} ${response.statusText}`]));
    if (response.ok) {
      await refresh();
    }
  } catch (error) {
    outcome.textContent = `The server does not answer: ${error.message}`;
  } finally {
    button.disabled = false;
  }
}

// Shows how the page's own entity or list is after an operation.
async function refresh() {
  const shown = document.querySelector("#answer");
  if (!shown) {
    return;
  }
  const response = await fetch(location.href, { headers: { Accept: "text/html" }, credentials: "same-origin" });
  const answer = await read(response);
  if (response.ok && answer) {
    shown.replaceWith(answer);
  }
}

function fit(textarea) {
  textarea.rows = Math.min(Math.max(textarea.value.split("\n").length + 1, 3), 30);
}

function takeOperator(row) {
  const operator = row.querySelector(".operator").value;
  const value = row.querySelector(".value");
  value.hidden = operator.startsWith("is_null");
  if (row.dataset.entry === "choice") {
    value.multiple = MANY.includes(operator);
  }
}

function address(form) {
  const params = new URLSearchParams();
  for (const row of form.querySelectorAll(".filter")) {
    const operators = row.querySelector(".operator");
    const [operator, fixed] = operators.value.split("=");
    const value = row.querySelector(".value");
    const chosen = value.selectedOptions ? [...value.selectedOptions].map((option) => option.value) : [value.value.trim()];
    const text = fixed ?? chosen.filter(Boolean).join(",");
    if (text) {
      const plain = operator === "eq" || operators.options.length === 1;
      const key = plain ? row.dataset.field : `${row.dataset.field}__${operator}`;
      params.append(key, row.dataset.entry === "instant" && fixed === undefined ? `${text}Z` : text);
    }
  }
  for (const name of ["order_by", "limit"]) {
    const select = form.elements[name];
    if (select.value && select.selectedIndex > 0) {
      params.append(name, select.value);
    }
  }
  const query = params.toString();
  return form.action.split("?")[0] + (query ? `?${query}` : "");
}

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.matches("form.send")) {
    event.preventDefault();
    if (form.dataset.method !== "DELETE" || confirm(`DELETE ${new URL(form.action).pathname}?`)) {
      send(form);
    }
  } else if (form.matches(".filters form")) {
    event.preventDefault();
    location.assign(address(form));
  }
});

document.addEventListener("change", (event) => {
  if (event.target.matches(".example select")) {
    const textarea = event.target.form.querySelector("textarea");
    textarea.value = event.target.value;
    fit(textarea);
  } else if (event.target.matches(".operator")) {
    takeOperator(event.target.closest(".filter"));
  }
});

document.addEventListener("input", (event) => {
  if (event.target.matches(".send textarea")) {
    fit(event.target);
  }
});

document.querySelectorAll(".send textarea").forEach(fit);
document.querySelectorAll(".filter").forEach(takeOperator);
