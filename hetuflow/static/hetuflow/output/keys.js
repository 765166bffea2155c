// Keys that do something wherever one is, but in a field or a dialogue; Home and End in the output alone.

const isTaken = (event) =>
  event.ctrlKey ||
  event.metaKey ||
  event.altKey ||
  event.target.closest("input:not([type=range]), textarea, select, [contenteditable]") ||
  document.querySelector("dialog[open]");

export const listenToKeys = (viewer) => {
  const anywhere = {
    "/": () => viewer.search.focus(),
    f: () => viewer.toggleFollowing(),
    w: () => viewer.toggleWrapping(),
    n: () => viewer.search.next(),
    N: () => viewer.search.previous(),
  };
  const inTheOutput = { Home: () => viewer.showAround({ at: "0" }), End: () => viewer.followOn() };
  document.addEventListener("keydown", (event) => {
    const isThere = event.target === viewer.log || event.target === document.body;
    const action = anywhere[event.key] ?? (isThere && inTheOutput[event.key]);
    if (action && !isTaken(event)) {
      event.preventDefault();
      action();
    }
  });
};
