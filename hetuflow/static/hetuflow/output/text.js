// What a terminal would obey is shown: its controls as marks, and so are characters that turn a line around.
// Colours are the one exception.

const OBEYED = /[\x00-\x08\x0a-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;
// Colours (SGR), and "erase to the end of the line", which programs send after them and erases nothing here.
const COLOURS = /\x1b\[(?:([0-9;:]{0,64})m|0?K)/g;
const PLAIN = Object.freeze({});
const FLAGS = { 1: "bold", 2: "dim", 3: "italic", 4: "underline", 7: "inverse", 9: "strike" };
const ENDS = { 22: ["bold", "dim"], 23: ["italic"], 24: ["underline"], 27: ["inverse"], 29: ["strike"] };

const mark = (character) => {
  const code = character.charCodeAt(0);
  if (code < 0x20) {
    return String.fromCharCode(0x2400 + code);
  }
  return code === 0x7f ? "\u2421" : `[U+${code.toString(16).toUpperCase().padStart(4, "0")}]`;
};

export const visible = (text) => text.replace(OBEYED, mark);

const without = (style, names) =>
  Object.fromEntries(Object.entries(style).filter(([name]) => !names.includes(name)));

// Returns the colour that begins at `codes[at]`, which is 38 or 48, and how many codes it took.
const longColour = (codes, at) => {
  const numbers = codes.slice(at + 2, at + 5);
  const isByte = (number) => Number.isInteger(number) && number >= 0 && number <= 255;
  if (codes[at + 1] === 5 && isByte(numbers[0])) {
    return [paletteColour(numbers[0]), 3];
  }
  if (codes[at + 1] === 2 && numbers.length === 3 && numbers.every(isByte)) {
    return [`rgb(${numbers.join(" ")})`, 5];
  }
  return [null, codes.length - at];
};

// Colours 0 to 15 are the theme's; then a cube of 6 x 6 x 6, then 24 greys.
const paletteColour = (number) => {
  if (number < 16) {
    return number;
  }
  if (number >= 232) {
    const grey = 8 + (number - 232) * 10;
    return `rgb(${grey} ${grey} ${grey})`;
  }
  const level = (index) => (index === 0 ? 0 : 55 + index * 40);
  const cube = number - 16;
  return `rgb(${level(Math.floor(cube / 36))} ${level(Math.floor(cube / 6) % 6)} ${level(cube % 6)})`;
};

const basicColour = (code) => {
  if ((code >= 30 && code <= 37) || (code >= 40 && code <= 47)) {
    return code % 10;
  }
  return (code >= 90 && code <= 97) || (code >= 100 && code <= 107) ? 8 + (code % 10) : null;
};

const restyled = (style, parameters) => {
  const codes = parameters.split(/[;:]/).map(Number);
  let next = style;
  for (let at = 0; at < codes.length; at += 1) {
    const code = codes[at];
    const layer = code < 40 || (code >= 90 && code < 100) ? "colour" : "ground";
    if (code === 0) {
      next = PLAIN;
    } else if (code in FLAGS) {
      next = { ...next, [FLAGS[code]]: true };
    } else if (code in ENDS) {
      next = without(next, ENDS[code]);
    } else if (code === 39 || code === 49) {
      next = without(next, [layer]);
    } else if (code === 38 || code === 48) {
      const [colour, taken] = longColour(codes, at);
      next = colour === null ? next : { ...next, [layer]: colour };
      at += taken - 1;
    } else if (basicColour(code) !== null) {
      next = { ...next, [layer]: basicColour(code) };
    }
  }
  return next;
};

// Returns a line as pieces of one style each, and the style that holds at its end.
export const coloured = (line, style = PLAIN) => {
  if (!line.includes("\x1b")) {
    return { pieces: [{ text: visible(line), style }], style };
  }
  const pieces = [];
  let from = 0;
  for (const found of line.matchAll(COLOURS)) {
    if (found.index > from) {
      pieces.push({ text: visible(line.slice(from, found.index)), style });
    }
    from = found.index + found[0].length;
    style = found[1] === undefined ? style : restyled(style, found[1]);
  }
  if (from < line.length || pieces.length === 0) {
    pieces.push({ text: visible(line.slice(from)), style });
  }
  return { pieces, style };
};

// Shows a style on an element: the theme's colours by class, others as they are.
export const paint = (element, style) => {
  let { colour, ground } = style;
  if (style.inverse) {
    [colour, ground] = [ground ?? "page", colour ?? "text"];
  }
  if (colour === ground) {
    ground = undefined; // text in the colour of its ground would be hidden
  }
  for (const name of ["bold", "dim", "italic", "underline", "strike"]) {
    if (style[name]) {
      element.classList.add(`hf-sgr-${name}`);
    }
  }
  for (const [layer, value] of [["color", colour], ["background-color", ground]]) {
    if (typeof value === "string" && value.startsWith("rgb")) {
      element.style.setProperty(layer, value);
    } else if (value !== undefined) {
      element.style.setProperty(layer, `var(--hf-sgr-${value})`);
    }
  }
};
