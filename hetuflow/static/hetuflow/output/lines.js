// Each line has an address, `#stdout-1024`: its stream, and how many bytes of that come before it.

const ADDRESS = /^#(stdout|stderr)-(\d{1,15})$/;

export class Lines {
  constructor(viewer) {
    this.viewer = viewer;
    this.target = null;
    window.addEventListener("hashchange", () => this.openHash());
    viewer.log.addEventListener("click", (event) => this.onClick(event));
  }

  // Shows the line that the address of the page names; returns whether it names one.
  async openHash() {
    const found = ADDRESS.exec(window.location.hash);
    if (!found) {
      return false;
    }
    this.viewer.root.scrollIntoView({ block: "nearest" });
    await this.open(found[1], Number(found[2]));
    return true;
  }

  // Shows the line that holds a byte of a stream, and marks it.
  async open(stream, offset) {
    const { viewer } = this;
    if (viewer.stream && viewer.stream !== stream) {
      viewer.setStream("");
    }
    this.target = { stream, offset };
    const row = this.rowWith(stream, offset);
    if (row) {
      viewer.setFollowing(false);
      this.show();
      viewer.scrollToRow(row, { isCentred: true });
    } else {
      await viewer.showAround({ line: `${stream}.${offset}` });
    }
  }

  // Returns the row that holds a byte of a stream, if it is in the page.
  rowWith(stream, offset) {
    return this.viewer.window.rows.find(
      (row) => row.stream === stream && row.offset <= offset && (offset < row.end || offset === row.offset),
    );
  }

  // Marks the line that was asked for, wherever it is now.
  show() {
    this.viewer.log.querySelector(".hf-row-target")?.classList.remove("hf-row-target");
    const row = this.target && this.rowWith(this.target.stream, this.target.offset);
    row?.element.classList.add("hf-row-target");
  }

  onClick(event) {
    const link = event.target.closest(".hf-row-at");
    if (link) {
      event.preventDefault();
      window.history.replaceState(null, "", link.hash);
      const [, stream, offset] = ADDRESS.exec(link.hash);
      this.target = { stream, offset: Number(offset) };
      this.show();
    }
  }
}
