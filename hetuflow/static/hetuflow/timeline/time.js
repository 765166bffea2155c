// Instants in the reader's zone: their texts, round ones for an axis, and back from what a form holds.

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const STEPS = [
  ...[1, 5, 15, 30].map((n) => n * SECOND),
  ...[1, 5, 15, 30].map((n) => n * MINUTE),
  ...[1, 3, 6, 12].map((n) => n * HOUR),
  ...[1, 7, 28].map((n) => n * DAY),
];

const two = (number) => String(number).padStart(2, "0");

export class Clock {
  constructor(zone) {
    this.zone = zone;
    this.format = new Intl.DateTimeFormat("en-CA", {
      timeZone: zone,
      hourCycle: "h23",
      year: "numeric",
      month: "2-digit",
      day: "2-digit",
      hour: "2-digit",
      minute: "2-digit",
      second: "2-digit",
    });
    this.offsets = new Map();
  }

  // How much the zone's clocks are before UTC; they change at full quarters of an hour.
  offset(ms) {
    const quarter = Math.floor(ms / (15 * MINUTE));
    if (!this.offsets.has(quarter)) {
      if (this.offsets.size > 2000) {
        this.offsets.clear();
      }
      const parts = {};
      for (const { type, value } of this.format.formatToParts(quarter * 15 * MINUTE)) {
        parts[type] = Number(value);
      }
      const { year, month, day, hour, minute, second } = parts;
      this.offsets.set(quarter, Date.UTC(year, month - 1, day, hour, minute, second) - quarter * 15 * MINUTE);
    }
    return this.offsets.get(quarter);
  }

  local(ms) {
    return new Date(ms + this.offset(ms));
  }

  day(ms) {
    const at = this.local(ms);
    return `${two(at.getUTCMonth() + 1)}-${two(at.getUTCDate())}`;
  }

  time(ms, hasSeconds) {
    const at = this.local(ms);
    const text = `${two(at.getUTCHours())}:${two(at.getUTCMinutes())}`;
    return hasSeconds ? `${text}:${two(at.getUTCSeconds())}` : text;
  }

  full(ms) {
    return `${this.local(ms).getUTCFullYear()}-${this.day(ms)} ${this.time(ms, true)}`;
  }

  // What <input type="datetime-local"> holds.
  field(ms) {
    return `${this.local(ms).getUTCFullYear()}-${this.day(ms)}T${this.time(ms, false)}`;
  }

  fromField(text) {
    const local = Date.parse(`${text}Z`);
    return Number.isNaN(local) ? null : this.fromLocal(local);
  }

  fromLocal(local) {
    return local - this.offset(local - this.offset(local));
  }

  // Round instants of [begin, end], at most `most`; with the text of each, and whether a day begins there.
  ticks(begin, end, most) {
    const step = STEPS.find((each) => (end - begin) / each <= most) || STEPS.at(-1);
    const ticks = [];
    let local = Math.ceil((begin + this.offset(begin)) / step) * step;
    for (let at = this.fromLocal(local); at <= end; at = this.fromLocal(local)) {
      // An instant that the clocks leave out is the same as the next one.
      if (at >= begin && at !== ticks.at(-1)?.at) {
        const isDay = local % DAY === 0;
        ticks.push({ at, isDay, text: isDay ? this.day(at) : this.time(at, step < MINUTE) });
      }
      local += step;
    }
    return ticks;
  }
}

// An instant as all clocks of the world agree on it.
export const utc = (ms) => new Date(ms).toISOString().replace("T", " ").replace("Z", " UTC");

// A length of time, precise where it is short, as the pages write it.
export const duration = (ms) => {
  const secs = Math.max(ms, 0) / 1000;
  if (secs < 1) {
    return `${Math.round(secs * 1000)} ms`;
  }
  if (secs < 60) {
    return `${secs.toFixed(2)} s`;
  }
  const whole = Math.round(secs);
  if (whole < 3600) {
    return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  }
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
};
