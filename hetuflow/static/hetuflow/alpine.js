// Lets unfold's pages run on the build of Alpine that needs no eval, which our Content-Security-Policy forbids.
// That build interprets expressions by itself and knows no globals, no statements and no template literals;
// what unfold's attributes use of these is given to it here. A test looks whether that is still all of it.
"use strict";

document.addEventListener("alpine:init", () => {
  const { Alpine } = window;

  // [what a template says, what the build understands]; white space counts as one space.
  const PHRASES = [
    ["value => localStorage.setItem('sidebarDesktopOpen', value ? '1' : '0')", "rememberSidebar"],
    [
      "if ($refs.searchInput.value === '') { $refs.searchInput.blur() } else { $refs.searchInput.value = '' }",
      "leaveOrEmpty($refs.searchInput)",
    ],
    [
      "if (!$event.metaKey && !$event.ctrlKey) selectItem(",
      "!$event.metaKey && !$event.ctrlKey && selectItem(",
    ],
    [
      "if (!$event.target.closest('a')) { openUserLinks = !openUserLinks }",
      "!$event.target.closest('a') && (openUserLinks = !openUserLinks)",
    ],
    [
      "if (resizing) { sidebarWidth = Math.min(max, Math.max(min, getComputedStyle($el).direction === 'rtl' ? document.getElementById('nav-sidebar').getBoundingClientRect().right - $event.clientX : $event.clientX)); localStorage.setItem('sidebarWidth', sidebarWidth); }",
      "resizing && (sidebarWidth = resizedSidebar($event, min, max))",
    ],
    ["`width: ${sidebarWidth}px`", "'width: ' + sidebarWidth + 'px'"],
  ];
  // Fields on which others depend: the select with a search tells of a choice by jQuery alone.
  const SELECT =
    /^const \$ = django\.jQuery; \$\(function \(\) \{ const select = \$\('#([\w-]+)'\); select\.on\('change', \(ev\) => \{ (\w+) = select\.val\(\); \}\); \}\);$/;

  // What expressions may call and read besides their own data: the root element's is in the scope of all.
  const GLOBALS = {
    getCurrentTab: () => getCurrentTab(),
    moveRecords: (event) => moveRecords(event),
    sortRecords: (event) => sortRecords(event),
    localStorage: {
      getItem: (key) => localStorage.getItem(key),
      setItem: (key, value) => localStorage.setItem(key, value),
    },
    window: {
      location: {
        get pathname() {
          return window.location.pathname;
        },
        get search() {
          return window.location.search;
        },
      },
    },
    rememberSidebar(isOpen) {
      localStorage.setItem("sidebarDesktopOpen", isOpen ? "1" : "0");
    },
    resizedSidebar(event, min, max) {
      const sidebar = document.getElementById("nav-sidebar");
      const isAtTheRight = getComputedStyle(sidebar).direction === "rtl";
      const wanted = isAtTheRight ? sidebar.getBoundingClientRect().right - event.clientX : event.clientX;
      const width = Math.min(max, Math.max(min, wanted));
      localStorage.setItem("sidebarWidth", width);
      return width;
    },
    followSelect(id, name, data) {
      const $ = django.jQuery;
      $(() => {
        const select = $(`#${id}`);
        select.on("change", () => {
          data[name] = select.val();
        });
      });
    },
    leaveOrEmpty(input) {
      if (input.value === "") {
        input.blur();
      } else {
        input.value = "";
      }
    },
  };

  // The build's lists are evaluated from left to right, so they serve as a sequence of statements.
  const inSequence = (expression) => {
    const statements = (expression.match(/(?:[^;'"]|'[^']*'|"[^"]*")+/g) || []).filter((text) => text.trim());
    return statements.length > 1 ? `[${statements.join(", ")}]` : expression;
  };

  const understood = (expression) => {
    const phrase = expression
      .replace(/\s+/g, " ")
      .trim()
      .replace(SELECT, "followSelect('$1', '$2', $data)");
    return inSequence(PHRASES.reduce((text, [said, meant]) => text.replaceAll(said, meant), phrase));
  };

  Alpine.mapAttributes(({ name, value }) => ({
    name,
    value: name.startsWith("x-") && typeof value === "string" ? understood(value) : value,
  }));
  Alpine.data("theme", (...given) => Object.assign(theme(...given), GLOBALS));
  for (const name of ["searchForm", "searchDropdown", "searchCommand"]) {
    if (typeof window[name] === "function") {
      const provide = window[name];
      Alpine.data(name, () => provide());
    }
  }
});
