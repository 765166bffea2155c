// Mouse, wheel, fingers and keys on the canvas, as what they mean: pan, zoom, choose, open.

const ZOOM_STEP = 1.5;
const PAN_STEP = 0.15;
const CLICK_SLACK = 4;

// `act` has pan(share), zoom(factor, x), hover(x, y), leave(), press(x, y, event), step(by), row(by), open(), and
// clear(), live(), now(); x and y are pixels of the canvas.
export const listen = (canvas, act) => {
  const touches = new Map();
  let moved = 0;

  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  };

  const spread = () => {
    const [a, b] = [...touches.values()];
    return { x: (a.x + b.x) / 2, distance: Math.max(Math.hypot(a.x - b.x, a.y - b.y), 10) };
  };

  canvas.addEventListener("pointerdown", (event) => {
    if (event.button === 0) {
      canvas.setPointerCapture(event.pointerId);
      touches.set(event.pointerId, place(event));
      moved = touches.size > 1 ? Infinity : 0;
    }
  });

  canvas.addEventListener("pointermove", (event) => {
    const [to, from] = [place(event), touches.get(event.pointerId)];
    if (!from) {
      act.hover(to.x, to.y);
      return;
    }
    const before = touches.size === 2 ? spread() : null;
    touches.set(event.pointerId, to);
    if (before) {
      const after = spread();
      act.zoom(after.distance / before.distance, after.x);
      act.pan((before.x - after.x) / canvas.clientWidth);
    } else if (touches.size === 1) {
      moved += Math.abs(to.x - from.x) + Math.abs(to.y - from.y);
      if (moved > CLICK_SLACK) {
        act.pan((from.x - to.x) / canvas.clientWidth);
      }
    }
  });

  const release = (event) => {
    const wasDown = touches.delete(event.pointerId);
    if (wasDown && event.type === "pointerup" && moved <= CLICK_SLACK) {
      const { x, y } = place(event);
      act.press(x, y, event);
    }
  };
  canvas.addEventListener("pointerup", release);
  canvas.addEventListener("pointercancel", release);
  canvas.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && act.leave());

  // Two fingers on a pad, to and from each other, come as a wheel with Ctrl. A plain wheel scrolls the rows.
  canvas.addEventListener(
    "wheel",
    (event) => {
      if (event.ctrlKey || event.metaKey) {
        event.preventDefault();
        act.zoom(Math.exp(-event.deltaY / (event.deltaMode === 0 ? 300 : 10)), place(event).x);
      } else if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
        event.preventDefault();
        act.pan((event.deltaX || event.deltaY) / canvas.clientWidth);
      }
    },
    { passive: false },
  );

  const KEYS = {
    ArrowLeft: () => act.pan(-PAN_STEP),
    ArrowRight: () => act.pan(PAN_STEP),
    ArrowUp: () => act.row(-1),
    ArrowDown: () => act.row(1),
    "+": () => act.zoom(ZOOM_STEP),
    "=": () => act.zoom(ZOOM_STEP),
    "-": () => act.zoom(1 / ZOOM_STEP),
    n: () => act.step(1),
    p: () => act.step(-1),
    l: () => act.live(),
    Home: () => act.now(),
    Enter: () => act.open(),
    Escape: () => act.clear(),
  };
  canvas.addEventListener("keydown", (event) => {
    if (KEYS[event.key] && !event.ctrlKey && !event.metaKey && !event.altKey) {
      event.preventDefault();
      KEYS[event.key]();
    }
  });
};
