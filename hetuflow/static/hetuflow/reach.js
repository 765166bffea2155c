// What the theme's pages leave to the mouse and to the eye is mended here, for those who have a keyboard or listen.
// Texts come from <template id="hf-texts">.
"use strict";

(() => {
  const NATIVE = "a[href], button, input, select, textarea, label, summary, h2, h3, td";
  // Icons are letters of a font, named by words that nobody should hear: [the icon, the text for it].
  const ICONS = {
    dock_to_right: "sidebar",
    close: "close",
    dark_mode: "theme",
    light_mode: "theme",
    computer: "theme",
    visibility: "password",
    visibility_off: "password",
    delete: "remove",
    more_vert: "more",
    schedule: "home",
    search: "search",
  };
  let texts = {};

  const each = (root, selector, mend) => {
    if (root.matches && root.matches(selector)) {
      mend(root);
    }
    root.querySelectorAll(selector).forEach(mend);
  };

  const nameByIcon = (element) => {
    const isIcon = (node) => node instanceof Element && node.matches(".material-symbols-outlined");
    const icon = isIcon(element) ? element : [...element.children].find(isIcon);
    const isNamed = element.hasAttribute("aria-label") || element.hasAttribute("title");
    const says = [...element.childNodes].some((node) => !isIcon(node) && node.textContent.trim());
    if (icon && !isNamed && (icon === element || !says)) {
      // The icon of the theme follows the theme, which is not known yet.
      const isTheme = /theme/i.test(element.getAttribute("x-on:click"));
      const text = texts[isTheme ? "theme" : ICONS[icon.textContent.trim()]];
      if (text) {
        element.setAttribute("aria-label", text);
      }
    }
  };

  const clickable = (element) => {
    if (!element.matches(NATIVE) && element.id !== "changelist-filter-close") {
      element.setAttribute("role", "button");
      element.tabIndex = 0;
    }
    nameByIcon(element);
  };

  // Regions of one page need names of their own.
  const scrolled = (wrapper) => {
    wrapper.setAttribute("aria-label", wrapper.closest("#nav-sidebar-apps") ? texts.navigation : texts.table);
  };

  // What scrolls must be reached by a keyboard before it can be scrolled by one.
  const scrollable = (part) => {
    if (part.scrollWidth > part.clientWidth || part.scrollHeight > part.clientHeight) {
      part.tabIndex = 0;
    }
  };

  // Fields in rows are named by the head of their column, which only the eye connects with them.
  const inRow = (field) => {
    const isNamed = field.labels.length > 0 || field.hasAttribute("aria-label") || field.type === "hidden";
    if (!isNamed) {
      field.setAttribute("aria-label", field.closest("td").dataset.label);
    }
  };

  const headless = (head) => {
    if (!head.textContent.trim() && !head.querySelector("input")) {
      const said = document.createElement("span");
      said.className = "hf-unseen";
      said.textContent = texts.actions;
      head.append(said);
    }
  };

  // The choice of the select with a search is a box of its own, which its label does not know.
  const chosen = (box) => {
    const select = box.closest(".select2-container").previousElementSibling;
    const label = select && select.labels && select.labels[0];
    if (label) {
      label.id = label.id || `${select.id}_label`;
      const shown = box.querySelector("[id$='-container']");
      box.setAttribute("aria-labelledby", [label.id, shown && shown.id].filter(Boolean).join(" "));
      if (shown) {
        shown.setAttribute("aria-labelledby", label.id);
      }
    }
  };

  const mend = (root) => {
    each(root, "[x-on\\:click]", clickable);
    each(root, "button, a[href]", nameByIcon);
    each(root, ".material-symbols-outlined:not([role='button'])", (icon) => icon.setAttribute("aria-hidden", "true"));
    each(root, ".simplebar-content-wrapper", scrolled);
    each(root, ".select2-selection", chosen);
    each(root, ".help-tooltip", (sign) => sign.setAttribute("role", "img"));
    each(root, "th", headless);
    each(root, "td[data-label] :is(input, select, textarea)", inRow);
    each(root, "pre, .hf-scroll, .hf-tall", scrollable);
    each(root, "#nav-sidebar-inner", (nav) => nav.setAttribute("aria-label", texts.navigation));
  };

  document.addEventListener("DOMContentLoaded", () => {
    const found = document.getElementById("hf-texts");
    texts = found ? found.dataset : {};
    mend(document);
    new MutationObserver((changes) => {
      for (const { addedNodes } of changes) {
        for (const node of addedNodes) {
          if (node.nodeType === Node.ELEMENT_NODE) {
            mend(node);
          }
        }
      }
    }).observe(document.body, { childList: true, subtree: true });
  });

  document.addEventListener("keydown", (event) => {
    const { target } = event;
    if ((event.key === "Enter" || event.key === " ") && target.matches("[role='button'][x-on\\:click]")) {
      event.preventDefault();
      target.click();
    }
  });
})();
