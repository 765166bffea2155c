// <div data-output="URL of pages" …>: shows the output of an attempt, however long it is, and follows it.
// A window of rows is in the page; pages before and behind it are fetched when one scrolls there.

import { RowElements } from "./elements.js";
import { Feed } from "./feed.js";
import { listenToKeys } from "./keys.js";
import { Lines } from "./lines.js";
import { Position } from "./position.js";
import { MAX_ROWS, RowWindow, STREAMS, total } from "./rows.js";
import { fetchPage } from "./pages.js";
import { Search } from "./search.js";

const NEAR_PX = 600;
const AT_END_PX = 24;
const ANNOUNCE_EVERY_MS = 5000;
const LINE = /^#(stdout|stderr)-(\d{1,15})$/;

// Lets the other parts of the page show at once what has changed.
const renewParts = () => {
  for (const part of document.querySelectorAll("[data-follows-output]")) {
    part.dispatchEvent(new CustomEvent("hf:renew"));
  }
};

class Viewer {
  constructor(root) {
    this.root = root;
    this.texts = JSON.parse(root.dataset.texts);
    this.find = (name) => root.querySelector(`[data-part="${name}"]`);
    this.log = this.find("log");
    this.window = new RowWindow();
    this.stream = "";
    this.size = { stdout: 0, stderr: 0 };
    this.isLive = root.dataset.liveOutput === "1";
    this.isFollowing = false;
    this.loading = null;
    this.pending = [];
    this.unannounced = 0;
    this.elements = new RowElements(root.dataset.zone);
    this.position = new Position(this);
    this.lines = new Lines(this);
    this.search = new Search(this);
    this.listen();
    this.feed = new Feed(root.dataset.socket, {
      onOutput: (parts) => this.receive(parts),
      onState: (state) => this.hearState(state),
      onLink: (link) => this.hearLink(link),
    });
  }

  async start() {
    if (!(await this.lines.openHash())) {
      await this.showEnd();
    }
    if (this.isLive) {
      this.feed.connect();
    }
  }

  // --- pages ---------------------------------------------------------------------------------------------

  // Only one page is fetched at a time; a jump makes what was asked for before it worthless.
  async load(query, show) {
    const mine = Symbol("load");
    this.loading = mine;
    this.log.setAttribute("aria-busy", "true");
    try {
      const page = await fetchPage(this.root.dataset.output, { ...query, stream: this.stream });
      if (this.loading === mine) {
        this.size = page.size;
        this.isLive = this.isLive && page.is_live;
        show(page);
        this.say("");
      }
    } catch (error) {
      console.warn("Hetuflow: the output cannot be fetched at the moment", error);
      this.say(this.texts.failed);
    } finally {
      if (this.loading === mine) {
        this.loading = null;
        this.log.removeAttribute("aria-busy");
      }
      this.position.show();
    }
  }

  async showEnd() {
    await this.load({}, (page) => {
      this.replace(page);
      this.scrollToEnd();
      this.setFollowing(this.isLive);
    });
  }

  // Shows the output around a place; `query` says which.
  async showAround(query) {
    this.setFollowing(false);
    await this.load(query, (page) => {
      this.replace(page);
      const row = this.window.rows.find((each) => each.offset >= page.target[each.stream]);
      this.scrollToRow(row ?? this.window.rows.at(-1), { isCentred: "line" in query });
    });
  }

  replace(page) {
    this.pending = [];
    this.window.reset(page);
    this.window.dropLast(this.window.rows.length - MAX_ROWS);
    this.log.replaceChildren(...this.window.rows.map((row) => this.elements.make(row)));
    this.log.classList.toggle("hf-is-empty", this.window.rows.length === 0);
    this.lines.show();
  }

  async loadBefore() {
    await this.load({ before: this.window.begin }, (page) => {
      const rows = this.window.prepend(page);
      const height = this.log.scrollHeight;
      this.log.prepend(...rows.map((row) => this.elements.make(row)));
      this.log.scrollTop += this.log.scrollHeight - height;
      this.remove(this.window.dropLast(this.window.rows.length - MAX_ROWS));
      this.lines.show();
    });
  }

  async loadBehind() {
    await this.load({ after: this.window.end }, (page) => {
      const { fresh } = this.append(page.parts);
      // Whoever reads on from here sees every row; what does not fit is fetched again.
      this.remove(this.window.dropLast(fresh.length - MAX_ROWS / 2));
      this.trimBeginning();
    });
  }

  append(parts) {
    const { fresh, grown } = this.window.append(parts);
    grown.forEach((row) => row.element?.replaceWith(this.elements.make(row)));
    this.log.append(...fresh.map((row) => this.elements.make(row)));
    this.log.classList.toggle("hf-is-empty", this.window.rows.length === 0);
    return { fresh, grown };
  }

  trimBeginning() {
    const height = this.log.scrollHeight;
    this.remove(this.window.dropFirst(this.window.rows.length - MAX_ROWS));
    this.log.scrollTop -= height - this.log.scrollHeight;
  }

  remove(rows) {
    rows.forEach((row) => row.element?.remove());
  }

  // --- live ------------------------------------------------------------------------------------------------

  receive(parts) {
    const wanted = this.stream ? parts.filter((part) => part.stream === this.stream) : parts;
    if (!this.isFollowing || !parts.length) {
      return;
    }
    if (!this.pending.length) {
      window.requestAnimationFrame(() => this.showReceived());
      // A page that is not looked at gets no frames; it still has to keep up.
      window.setTimeout(() => this.showReceived(), 250);
    }
    this.pending.push(...wanted);
    // What a filter leaves out counts as read.
    for (const part of parts.filter((each) => !wanted.includes(each))) {
      this.window.end[part.stream] = part.offset + part.bytes.length;
    }
  }

  showReceived() {
    const parts = this.pending;
    this.pending = [];
    if (!parts.length || !this.isFollowing) {
      return;
    }
    const { fresh } = this.append(parts);
    this.remove(this.window.dropFirst(this.window.rows.length - MAX_ROWS));
    this.scrollToEnd();
    STREAMS.forEach((stream) => {
      this.size[stream] = Math.max(this.size[stream], this.window.end[stream]);
    });
    this.announce(fresh.length);
    this.position.show();
  }

  // To those who hear the page: not every line, but that there are some, and how many.
  announce(count) {
    this.unannounced += count;
    if (!this.announcing && this.unannounced) {
      this.announcing = window.setTimeout(() => {
        this.announcing = 0;
        this.say(this.texts.newLines.replace("{n}", this.unannounced));
        this.unannounced = 0;
      }, ANNOUNCE_EVERY_MS);
    }
  }

  hearState(state) {
    this.size = { ...state.end };
    const news = [state.status, state.is_cancelled, state.log, state.is_settled].join();
    if (this.news !== undefined && news !== this.news) {
      renewParts();
    }
    this.news = news;
    this.position.show();
  }

  hearLink(link) {
    this.find("link").hidden = link !== "lost";
    if (link === "done") {
      this.isLive = false;
      this.setFollowing(false);
      renewParts();
    } else if (link === "refused") {
      this.say(this.texts.refused);
    } else if (link === "lost") {
      renewParts();
      this.catchUp();
    }
  }

  // Without a socket, as where a proxy knows none, the same comes by pages, as often as a socket is tried.
  async catchUp() {
    if (this.isFollowing && !this.loading) {
      await this.loadBehind();
      this.scrollToEnd();
      this.setFollowing(true);
    }
  }

  setFollowing(isFollowing) {
    this.isFollowing = isFollowing && this.isLive;
    const button = this.find("follow");
    button.hidden = !this.isLive;
    button.setAttribute("aria-pressed", String(this.isFollowing));
    this.feed.follow(this.isFollowing ? this.window.end : null);
    this.position.show();
  }

  toggleFollowing() {
    if (this.isFollowing) {
      this.setFollowing(false);
    } else {
      this.followOn();
    }
  }

  // From wherever one is to the end of what there is.
  followOn() {
    const lacking = total(this.size) - total(this.window.end);
    if (lacking > 0 || !this.isLive) {
      this.showEnd();
      return;
    }
    this.scrollToEnd();
    this.setFollowing(true);
  }

  // --- where one is ----------------------------------------------------------------------------------------

  get isAtEnd() {
    return this.log.scrollHeight - this.log.scrollTop - this.log.clientHeight < AT_END_PX;
  }

  // Whether something of what is shown lies behind the window.
  get hasBehind() {
    const names = this.stream ? [this.stream] : STREAMS;
    return names.some((name) => this.window.end[name] < this.size[name]);
  }

  get hasBefore() {
    const names = this.stream ? [this.stream] : STREAMS;
    return names.some((name) => this.window.begin[name] > 0);
  }

  scrollToEnd() {
    this.log.scrollTop = this.log.scrollHeight;
  }

  scrollToRow(row, { isCentred }) {
    if (row) {
      const above = isCentred ? (this.log.clientHeight - row.element.offsetHeight) / 2 : 0;
      this.log.scrollTop = row.element.offsetTop - above;
    }
  }

  onScroll() {
    this.position.show();
    if (this.isFollowing && !this.isAtEnd) {
      this.setFollowing(false);
    } else if (!this.isFollowing && this.isLive && this.isAtEnd && !this.hasBehind && !this.loading) {
      this.setFollowing(true);
    }
    if (this.loading) {
      return;
    }
    if (this.log.scrollTop < NEAR_PX && this.hasBefore) {
      this.loadBefore();
    } else if (this.log.scrollHeight - this.log.scrollTop - this.log.clientHeight < NEAR_PX) {
      if (this.hasBehind && !this.isFollowing) {
        this.loadBehind();
      }
    }
  }

  say(text) {
    const said = this.find("said");
    if (said.textContent !== text) {
      said.textContent = text;
    }
  }

  // --- what one may do -------------------------------------------------------------------------------------

  setStream(stream) {
    this.stream = stream;
    for (const button of this.root.querySelectorAll("[data-stream]")) {
      button.setAttribute("aria-pressed", String(button.dataset.stream === stream));
    }
  }

  async filter(stream) {
    const row = this.position.firstVisible();
    const wasFollowing = this.isFollowing;
    this.setStream(stream);
    if (wasFollowing || !row || (stream && row.stream !== stream)) {
      await this.showEnd();
    } else {
      await this.showAround({ line: `${row.stream}.${row.offset}` });
    }
  }

  toggleWrapping() {
    this.setWrapping(!this.log.classList.contains("hf-wraps"));
  }

  setWrapping(wraps) {
    const row = this.position.firstVisible();
    this.log.classList.toggle("hf-wraps", wraps);
    this.find("wrap").setAttribute("aria-pressed", String(wraps));
    if (this.isFollowing) {
      this.scrollToEnd();
    } else {
      this.scrollToRow(row, { isCentred: false });
    }
    window.localStorage.setItem("hf-wraps", wraps ? "1" : "0");
  }

  listen() {
    this.log.addEventListener("scroll", () => this.onScroll(), { passive: true });
    this.find("follow").addEventListener("click", () => this.toggleFollowing());
    this.find("wrap").addEventListener("click", () => this.toggleWrapping());
    for (const button of this.root.querySelectorAll("[data-stream]")) {
      button.addEventListener("click", () => this.filter(button.dataset.stream));
    }
    listenToKeys(this);
    new ResizeObserver(() => this.isFollowing && this.scrollToEnd()).observe(this.log);
    this.setWrapping(window.localStorage.getItem("hf-wraps") !== "0");
  }
}

const shown = document.querySelector("[data-output]");
if (shown) {
  new Viewer(shown).start();
}
// A task that has another attempt shows the output of that one.
document.addEventListener("hf:renewed", () => {
  if (document.querySelector("[data-output]") !== shown) {
    window.location.reload();
  }
});
