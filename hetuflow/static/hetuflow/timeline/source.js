// What the server says of a span of time: asked for in pieces larger than what is in view, again where that ends.

const PADDING = 0.25;
const PAUSE_MS = 150;
const RETRY_MS = 5000;
const FRESH_MS = 5000;
// Large answers are asked for less often.
const LARGE = 1500;
const FRESH_LARGE_MS = 15000;

export class Source {
  // `asked()` returns the filters, `show(data)` draws an answer, `fail(isFailing)` says whether there is none.
  constructor({ url, statuses, asked, show, fail }) {
    Object.assign(this, { url, statuses, asked, show, fail });
    this.data = null;
    this.request = null;
    this.timer = 0;
    this.loadedAt = 0;
  }

  // Asks for what is in view, unless the last answer has all of it.
  want(view, { anew = false } = {}) {
    this.view = view;
    if (anew || !this.has(view)) {
      window.clearTimeout(this.timer);
      this.timer = window.setTimeout(() => this.load(), PAUSE_MS);
    }
  }

  // Asks again for what runs, where the last answer is no longer fresh.
  refresh(view) {
    const isLarge = this.data && (this.data.slots || this.data.bars.length > LARGE);
    const age = performance.now() - this.loadedAt;
    if (!document.hidden && !this.request && age > (isLarge ? FRESH_LARGE_MS : FRESH_MS)) {
      this.view = view;
      this.load();
    }
  }

  has(view) {
    const { data } = this;
    if (!data || view.begin < data.begin || view.end > data.end) {
      return false;
    }
    // What was counted is asked for more closely as one zooms in.
    return !data.slots || view.end - view.begin > (data.end - data.begin) / 2;
  }

  async load() {
    if (this.request) {
      this.request.abort();
    }
    const request = new AbortController();
    this.request = request;
    const padding = (this.view.end - this.view.begin) * PADDING;
    const query = new URLSearchParams({
      ...this.asked(),
      begin: Math.round(Math.max(this.view.begin - padding, 0)),
      end: Math.round(this.view.end + padding),
    });
    try {
      const response = await fetch(`${this.url}?${query}`, { redirect: "error", signal: request.signal });
      if (!response.ok) {
        throw new Error(`status ${response.status}`);
      }
      const data = await response.json();
      this.data = { ...data, statuses: this.statuses.map(({ name }) => name) };
      this.loadedAt = performance.now();
      this.fail(false);
      this.show(this.data);
    } catch (error) {
      if (error.name !== "AbortError") {
        console.warn("Hetuflow: the timeline cannot be loaded at the moment", error);
        this.fail(true);
        window.clearTimeout(this.timer);
        this.timer = window.setTimeout(() => this.load(), RETRY_MS);
      }
    } finally {
      if (this.request === request) {
        this.request = null;
      }
    }
  }
}
