// Looks for text in the whole output, on the server, a step at a time; can be called off.

export class Search {
  constructor(viewer) {
    this.viewer = viewer;
    this.input = viewer.find("query");
    this.running = null;
    this.match = null;
    viewer.find("form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.next();
    });
    viewer.find("previous").addEventListener("click", () => this.previous());
    this.input.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && event.shiftKey) {
        event.preventDefault();
        this.previous();
      } else if (event.key === "Escape") {
        this.cancel();
        viewer.log.focus();
      }
    });
    this.input.addEventListener("input", () => {
      this.cancel();
      this.match = null;
      this.highlight();
    });
    viewer.find("cancel").addEventListener("click", () => this.cancel());
  }

  focus() {
    this.input.focus();
    this.input.select();
  }

  next() {
    this.look(false);
  }

  previous() {
    this.look(true);
  }

  cancel() {
    this.running?.abort();
    this.running = null;
    this.viewer.find("cancel").hidden = true;
    this.viewer.say("");
  }

  // Where to look from: the match before, or what one sees.
  begin(backwards) {
    const row = this.viewer.position.firstVisible();
    const place = backwards ? { ...this.viewer.window.end } : { ...this.viewer.window.begin };
    if (this.match) {
      const at = this.viewer.lines.rowWith(this.match.stream, this.match.offset);
      this.placeOfRow(place, at ?? row);
      place[this.match.stream] = this.match.offset + (backwards ? 0 : 1);
    } else if (row) {
      this.placeOfRow(place, row);
    }
    return place;
  }

  // The bytes of each stream before a row, by the rows that are here.
  placeOfRow(place, row) {
    for (const stream of Object.keys(place)) {
      const { rows, end } = this.viewer.window;
      const index = rows.indexOf(row);
      place[stream] = rows.slice(Math.max(0, index)).find((each) => each.stream === stream)?.offset ?? end[stream];
    }
  }

  async look(backwards) {
    const text = this.input.value;
    if (!text) {
      this.focus();
      return;
    }
    this.cancel();
    this.running = new AbortController();
    const { signal } = this.running;
    this.viewer.setFollowing(false);
    this.viewer.find("cancel").hidden = false;
    try {
      const found = await this.lookRound(text, backwards, signal);
      if (found) {
        this.match = found;
        await this.viewer.lines.open(found.stream, found.offset);
        this.highlight();
      }
      this.finish(found ? "" : this.viewer.texts.notFound);
    } catch (error) {
      if (error.name !== "AbortError") {
        console.warn("Hetuflow: the output cannot be searched at the moment", error);
        this.finish(this.viewer.texts.failed);
      }
    }
  }

  finish(text) {
    this.running = null;
    this.viewer.find("cancel").hidden = true;
    this.viewer.say(text);
  }

  // To the end from where one is, and then once from the other end.
  async lookRound(text, backwards, signal) {
    const from = this.begin(backwards);
    const far = backwards ? this.viewer.size : { stdout: 0, stderr: 0 };
    return (
      (await this.lookFrom(text, from, backwards, signal)) ?? (await this.lookFrom(text, far, backwards, signal))
    );
  }

  async lookFrom(text, place, backwards, signal) {
    let from = place;
    for (;;) {
      const step = await this.step(text, from, backwards, signal);
      if (step.found || step.is_over) {
        return step.found;
      }
      from = step.place;
      const done = (100 * (from.stdout + from.stderr)) / Math.max(1, this.viewer.size.stdout + this.viewer.size.stderr);
      this.viewer.say(this.viewer.texts.searching.replace("{n}", Math.round(done)));
    }
  }

  async step(text, place, backwards, signal) {
    const url = new URL(this.viewer.root.dataset.find, window.location.href);
    url.searchParams.set("q", text);
    url.searchParams.set(backwards ? "before" : "after", `${place.stdout}.${place.stderr}`);
    if (this.viewer.stream) {
      url.searchParams.set("stream", this.viewer.stream);
    }
    const response = await fetch(url, { signal, redirect: "error" });
    if (!response.ok) {
      throw new Error(`status ${response.status}`);
    }
    return response.json();
  }

  // Marks the text within the row that was found, where the browser can.
  highlight() {
    if (!window.CSS?.highlights || !window.Highlight) {
      return;
    }
    window.CSS.highlights.delete("hf-found");
    const row = this.match && this.viewer.lines.rowWith(this.match.stream, this.match.offset);
    const text = row?.element?.querySelector(".hf-row-text");
    const ranges = text ? rangesOf(text, this.input.value.toLowerCase()) : [];
    if (ranges.length) {
      window.CSS.highlights.set("hf-found", new window.Highlight(...ranges));
    }
  }
}

const rangesOf = (element, wanted) => {
  const ranges = [];
  const walker = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const text = node.data.toLowerCase();
    for (let at = text.indexOf(wanted); wanted && at >= 0; at = text.indexOf(wanted, at + wanted.length)) {
      const range = document.createRange();
      range.setStart(node, at);
      range.setEnd(node, at + wanted.length);
      ranges.push(range);
    }
  }
  return ranges;
};
