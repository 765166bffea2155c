// The socket on which output comes as it is written. It says from where output is lacking, and what was taken;
// a connection that is lost is made again and goes on there, so that nothing is missing or there twice.

import { partOf } from "./rows.js";

const DONE = 1000;
const NOT_PERMITTED = 1008;
const RETRY_MIN_MS = 500;
const RETRY_MAX_MS = 10000;
// How much may be shown before the server hears that it was.
const TAKEN_BYTES = 64 * 1024;
const TAKEN_MESSAGES = 8;

export class Feed {
  constructor(path, { onOutput, onState, onLink }) {
    this.url = new URL(path, window.location.href);
    this.url.protocol = this.url.protocol === "https:" ? "wss:" : "ws:";
    Object.assign(this, { onOutput, onState, onLink });
    this.place = null;
    this.failures = 0;
    this.socket = null;
  }

  // Get what comes after a place, or with null hear of the state alone.
  follow(place) {
    this.place = place && { ...place };
    if (this.socket?.readyState === WebSocket.OPEN) {
      this.say({ follow: this.place });
    }
  }

  connect() {
    this.socket = new WebSocket(this.url);
    this.takenBytes = 0;
    this.takenMessages = 0;
    this.socket.addEventListener("open", () => {
      this.failures = 0;
      this.say({ follow: this.place });
      this.onLink("open");
    });
    this.socket.addEventListener("message", (event) => this.hear(JSON.parse(event.data), event.data.length));
    this.socket.addEventListener("close", (event) => this.closed(event.code));
  }

  closed(code) {
    this.socket = null;
    if (code === DONE || code === NOT_PERMITTED) {
      this.onLink(code === DONE ? "done" : "refused");
      return;
    }
    this.failures += 1;
    this.onLink("lost");
    const most = Math.min(RETRY_MAX_MS, RETRY_MIN_MS * 2 ** this.failures);
    window.setTimeout(() => this.connect(), most * (0.5 + Math.random() / 2));
  }

  hear(message, size) {
    if (message.state) {
      this.onState(message.state);
    }
    if (message.output && this.place) {
      const parts = message.output.map(partOf).map((part) => this.lacking(part));
      this.onOutput(parts.filter((part) => part.bytes.length));
    }
    this.takenBytes += size;
    this.takenMessages += 1;
    if (this.takenBytes >= TAKEN_BYTES || this.takenMessages >= TAKEN_MESSAGES) {
      this.say({ taken: this.takenMessages });
      this.takenBytes = 0;
      this.takenMessages = 0;
    }
  }

  // Returns a part without what is here already; what was sent for a place before this one may not fit at all.
  lacking(part) {
    const skipped = this.place[part.stream] - part.offset;
    const fits = skipped >= 0 && skipped < part.bytes.length;
    const bytes = fits ? part.bytes.subarray(skipped) : new Uint8Array(0);
    this.place[part.stream] += bytes.length;
    return { ...part, offset: part.offset + skipped, bytes };
  }

  say(word) {
    this.socket.send(JSON.stringify(word));
  }
}
