// <div id="…" data-refresh-secs="2" data-refresh-url="…">: asked for again so often, from this page unless it names
// another one, as long as the answer says so, too. What is there stays and takes on what changed, so focus, scroll
// position, selected text and opened details stay as they are; <… data-keep> is left alone. Without an answer
// <… data-refresh-note data-lost="…" data-signed-out="…" hidden> in it says so. Hidden pages ask for nothing.
// <div data-refresh-of="ID" data-refresh-secs="4" hidden> lets an element be renewed that is not ours to mark.
"use strict";

(() => {
  const PATIENCE_MS = 15000;
  const MAX_PAUSE_MS = 30000;

  const keyOf = (node) => (node.nodeType === Node.ELEMENT_NODE ? node.id || node.dataset.key || "" : "");

  const isAlike = (node, other) => node.nodeName === other.nodeName && keyOf(node) === keyOf(other);

  const matchAttributes = (node, fresh) => {
    for (const { name } of [...node.attributes]) {
      // Whether details are open is the reader's business.
      if (!fresh.hasAttribute(name) && !(name === "open" && node.nodeName === "DETAILS")) {
        node.removeAttribute(name);
      }
    }
    for (const { name, value } of fresh.attributes) {
      if (node.getAttribute(name) !== value) {
        node.setAttribute(name, value);
      }
    }
  };

  const matchChildren = (node, fresh) => {
    const wanted = new Set([...fresh.childNodes].map(keyOf));
    for (const child of [...node.childNodes]) {
      if (keyOf(child) && !wanted.has(keyOf(child))) {
        child.remove();
      }
    }
    let place = node.firstChild;
    for (const child of fresh.childNodes) {
      let found = place;
      while (found && !isAlike(found, child)) {
        // What has a key is looked for further on; of the others only the next element is a candidate.
        found = keyOf(child) || found.nodeType !== Node.ELEMENT_NODE ? found.nextSibling : null;
      }
      if (!found) {
        node.insertBefore(document.importNode(child, true), place);
        continue;
      }
      if (found === place) {
        place = place.nextSibling;
      } else {
        node.insertBefore(found, place);
      }
      match(found, child);
    }
    while (place) {
      const next = place.nextSibling;
      place.remove();
      place = next;
    }
  };

  const match = (node, fresh) => {
    if (node.nodeType !== Node.ELEMENT_NODE) {
      if (node.data !== fresh.data) {
        node.data = fresh.data;
      }
    } else if (!("keep" in node.dataset)) {
      matchAttributes(node, fresh);
      matchChildren(node, fresh);
    }
  };

  const renew = (part, fresh) => {
    const active = document.activeElement;
    match(part, fresh);
    if (active !== document.activeElement && active.isConnected) {
      active.focus({ preventScroll: true });
    }
    part.dispatchEvent(new CustomEvent("hf:renewed", { bubbles: true }));
  };

  const ask = async (part) => {
    const response = await fetch(part.dataset.refreshUrl || window.location.href, {
      redirect: "manual",
      signal: AbortSignal.timeout(PATIENCE_MS),
    });
    if (response.type === "opaqueredirect" || response.status === 403) {
      return { failed: "signedOut" };
    }
    if (!response.ok) {
      throw new Error(`status ${response.status}`);
    }
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    return { fresh: page.getElementById(part.id) };
  };

  const tell = (part, failure) => {
    const note = part.querySelector("[data-refresh-note]");
    if (note && note.dataset[failure]) {
      note.textContent = note.dataset[failure];
      note.hidden = false;
    }
  };

  const follow = (part, mark) => {
    let failures = 0;
    let timer = 0;
    let isAsking = false;
    let isStale = false;

    const plan = () => {
      window.clearTimeout(timer);
      if (part.isConnected && mark.dataset.refreshSecs && !document.hidden) {
        const pause = Number(mark.dataset.refreshSecs) * 1000;
        timer = window.setTimeout(go, failures ? Math.min(pause * 2 ** failures, MAX_PAUSE_MS) : pause);
      }
    };

    const go = async () => {
      if (isAsking) {
        return;
      }
      isAsking = true;
      try {
        const { fresh, failed } = await ask(part);
        failures = failed ? failures + 1 : 0;
        if (fresh) {
          renew(part, fresh);
        } else if (failed) {
          tell(part, failed);
        }
      } catch (error) {
        console.warn("Hetuflow: this page cannot be renewed at the moment", error);
        failures += 1;
        tell(part, "lost");
      }
      isAsking = false;
      plan();
      if (isStale) {
        isStale = false;
        go();
      }
    };

    document.addEventListener("visibilitychange", () => {
      window.clearTimeout(timer);
      if (!document.hidden && mark.dataset.refreshSecs) {
        go();
      }
    });
    window.addEventListener("online", () => {
      if (failures && mark.dataset.refreshSecs) {
        go();
      }
    });
    // What else on the page knows that there is something new says so.
    part.addEventListener("hf:renew", () => {
      isStale = isAsking;
      go();
    });
    plan();
  };

  document.addEventListener("DOMContentLoaded", () => {
    for (const mark of document.querySelectorAll("[data-refresh-secs]")) {
      const part = mark.dataset.refreshOf ? document.getElementById(mark.dataset.refreshOf) : mark;
      if (part) {
        follow(part, mark);
      }
    }
  });
})();
