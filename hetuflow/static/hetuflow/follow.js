// Follows the output of a running attempt: asks for what came after the last byte it has, and appends it.
"use strict";

(() => {
  const PAUSE_MS = 1000;
  const PAUSE_HIDDEN_MS = 10000;
  const PAUSE_AFTER_ERROR_MS = 5000;
  const MAX_CHARS = 512 * 1024;
  const bar = document.querySelector("[data-follow]");
  if (!bar) {
    return;
  }
  const panes = new Map(
    [...document.querySelectorAll("[data-follow-stream]")].map((pane) => [
      pane.dataset.followStream,
      { pane, from: pane.dataset.followFrom },
    ]),
  );

  const append = (pane, text) => {
    const isAtEnd = pane.scrollHeight - pane.scrollTop - pane.clientHeight < 40;
    pane.append(text);
    // A command that prints for days must not fill the browser; the download has everything.
    while (pane.textContent.length > MAX_CHARS && pane.childNodes.length > 1) {
      pane.firstChild.remove();
    }
    if (isAtEnd) {
      pane.scrollTop = pane.scrollHeight;
    }
  };

  const ask = async () => {
    const query = new URLSearchParams();
    panes.forEach(({ from }, name) => query.set(name, from));
    const response = await fetch(`${bar.dataset.follow}?${query}`, {
      headers: { Accept: "application/json" },
      redirect: "error",
    });
    if (!response.ok) {
      throw new Error(`status ${response.status}`);
    }
    return response.json();
  };

  const show = (answer) => {
    let hasMore = false;
    panes.forEach((state, name) => {
      const piece = answer.streams[name];
      if (piece.text) {
        append(state.pane, piece.text);
      }
      state.from = piece.next;
      hasMore = hasMore || piece.has_more;
    });
    const status = document.createElement("template");
    status.innerHTML = answer.status;
    document.querySelector("[data-follow-status]").replaceChildren(status.content);
    document.querySelector("[data-follow-ran]").textContent = answer.ran;
    return hasMore;
  };

  const follow = async () => {
    let pause = document.hidden ? PAUSE_HIDDEN_MS : PAUSE_MS;
    try {
      const answer = await ask();
      const hasMore = show(answer);
      if (hasMore) {
        pause = 0;
      } else if (!answer.is_live) {
        window.location.reload();
        return;
      }
    } catch (error) {
      console.warn("Hetuflow: the output cannot be followed at the moment", error);
      pause = PAUSE_AFTER_ERROR_MS;
    }
    window.setTimeout(follow, pause);
  };

  panes.forEach(({ pane }) => {
    pane.scrollTop = pane.scrollHeight;
  });
  follow();
})();
