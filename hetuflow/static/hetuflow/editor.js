// <textarea data-editor="json">: a text with line numbers and colours. The textarea stays what is typed into, so forms,
// labels, screen readers and undo work as ever; behind it lies what it says in colours. With data-editor-by="ID" the
// language is that of the command chosen there. Tab indents; Escape gives it back to the keyboard's way through the page.
// <pre data-highlight="bash">: coloured where it stands.
"use strict";

(() => {
  // From so many characters on, colours would lag behind the hand.
  const MAX_CHARS = 30000;
  const LANGUAGES = {
    bash: "bash",
    sh: "bash",
    python: "python",
    uv: "python",
    node: "javascript",
    npx: "javascript",
    json: "json",
  };
  const INDENTS = { python: "    " };
  const OPENS = { python: /[:([{]\s*$/, bash: /(?:\b(?:then|do|else)|[({])\s*$/ };
  const OPENS_ELSEWHERE = /[([{]\s*$/;

  // Prism's tokens as elements, without any text being read as HTML.
  const colour = (tokens, into) => {
    for (const token of Array.isArray(tokens) ? tokens : [tokens]) {
      if (typeof token === "string") {
        into.append(token);
      } else {
        const part = document.createElement("span");
        part.className = `hf-token-${token.type}`;
        colour(token.content, part);
        into.append(part);
      }
    }
  };

  const show = (text, language, into) => {
    const grammar = text.length <= MAX_CHARS && window.Prism.languages[language];
    into.replaceChildren();
    colour(grammar ? window.Prism.tokenize(text, grammar) : text, into);
  };

  // Typed, as far as undo is concerned.
  const type = (area, text) => {
    if (!document.execCommand("insertText", false, text)) {
      area.setRangeText(text, area.selectionStart, area.selectionEnd, "end");
      area.dispatchEvent(new Event("input", { bubbles: true }));
    }
  };

  const shift = (area, indent, isBack) => {
    const { value, selectionStart, selectionEnd } = area;
    const begin = value.lastIndexOf("\n", selectionStart - 1) + 1;
    const lines = value.slice(begin, selectionEnd).split("\n");
    const back = new RegExp(`^(?:\t| {1,${indent.length}})`);
    const shifted = lines.map((line) => (isBack ? line.replace(back, "") : line && indent + line)).join("\n");
    area.setSelectionRange(begin, selectionEnd);
    type(area, shifted);
    area.setSelectionRange(begin, begin + shifted.length);
  };

  const newLine = (area, language, indent) => {
    const before = area.value.slice(0, area.selectionStart);
    const line = before.slice(before.lastIndexOf("\n") + 1);
    const opens = OPENS[language] || OPENS_ELSEWHERE;
    type(area, `\n${line.match(/^[ \t]*/)[0]}${opens.test(line) ? indent : ""}`);
  };

  const edit = (area) => {
    const by = area.dataset.editorBy && document.getElementById(area.dataset.editorBy);
    const language = () => LANGUAGES[by ? by.value : area.dataset.editor] || "";
    const indent = () => INDENTS[language()] || "  ";
    const frame = document.createElement("div");
    const view = document.createElement("pre");
    const gutter = document.createElement("div");
    let isReleased = false;

    frame.className = "hf-editor";
    for (const part of [view, gutter]) {
      part.setAttribute("aria-hidden", "true");
    }
    view.className = "hf-editor-view";
    gutter.className = "hf-editor-gutter";
    area.before(frame);
    frame.append(gutter, view, area);
    if (area.dataset.editorHint) {
      const hint = document.createElement("p");
      hint.id = `${area.id}_editor_hint`;
      hint.className = "hf-editor-hint";
      hint.textContent = area.dataset.editorHint;
      frame.after(hint);
      area.setAttribute("aria-describedby", `${area.getAttribute("aria-describedby") || ""} ${hint.id}`.trim());
    }

    const draw = () => {
      // A line that has nothing on it is a line all the same.
      show(`${area.value}\n`, language(), view);
      const count = area.value.split("\n").length;
      if (gutter.childElementCount !== count) {
        gutter.replaceChildren(...Array.from({ length: count }, () => document.createElement("span")));
      }
      follow();
    };
    const follow = () => {
      view.scrollTop = gutter.scrollTop = area.scrollTop;
      view.scrollLeft = area.scrollLeft;
    };

    area.addEventListener("input", draw);
    area.addEventListener("scroll", follow);
    area.addEventListener("blur", () => {
      isReleased = false;
    });
    area.addEventListener("keydown", (event) => {
      if (event.isComposing || event.ctrlKey || event.metaKey || event.altKey || area.readOnly) {
        return;
      }
      if (event.key === "Escape") {
        isReleased = true;
      } else if (event.key === "Tab" && !isReleased) {
        event.preventDefault();
        if (event.shiftKey || area.selectionStart !== area.selectionEnd) {
          shift(area, indent(), event.shiftKey);
        } else {
          type(area, indent());
        }
      } else if (event.key === "Enter") {
        event.preventDefault();
        newLine(area, language(), indent());
      } else if (event.key !== "Tab" && event.key !== "Shift") {
        isReleased = false;
      }
    });
    if (by) {
      by.addEventListener("change", draw);
    }
    new ResizeObserver(follow).observe(area);
    draw();
  };

  const highlight = () => {
    for (const part of document.querySelectorAll("pre[data-highlight]:not([data-highlighted])")) {
      part.dataset.highlighted = "";
      show(part.textContent, LANGUAGES[part.dataset.highlight] || "", part);
    }
  };

  document.addEventListener("DOMContentLoaded", () => {
    document.querySelectorAll("textarea[data-editor]").forEach(edit);
    highlight();
  });
  document.addEventListener("hf:renewed", highlight);
})();
