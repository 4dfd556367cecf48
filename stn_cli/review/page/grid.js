// The grid of thumbnails: only those in sight, and a row beyond, are in the page at all

import { COLOURS } from "./boxes.js";
import { STATUSES } from "./filters.js";

const GAP = 8, CAPTION = 26, ASPECT = 0.75, BEYOND = 2;
const MARKS = { unreviewed: "", accepted: "✓", corrected: "✎", none: "∅" };
const SVG = "http://www.w3.org/2000/svg";

export const markOf = (status) => MARKS[status];

export class Grid {
  // `model` has images, kinds, shown(i): the image as it will be, waits(i): whether that is not on disk yet
  constructor(scroller, model, open) {
    Object.assign(this, { scroller, model, open });
    this.grid = scroller.querySelector("#grid");
    this.list = [];
    this.here = 0;
    this.cells = new Map();
    scroller.addEventListener("scroll", () => this.draw(), { passive: true });
    new ResizeObserver(() => this.layout()).observe(scroller);
    this.grid.addEventListener("click", (event) => {
      const cell = event.target.closest(".cell");
      if (cell) this.open(Number(cell.dataset.at));
    });
  }

  show(list, { keep = false } = {}) {
    this.list = list;
    this.here = keep ? Math.min(this.here, Math.max(0, list.length - 1)) : 0;
    if (!keep) this.scroller.scrollTop = 0;
    this.clear();
    this.layout();
  }

  clear() {
    for (const cell of this.cells.values()) cell.remove();
    this.cells.clear();
  }

  layout() {
    const width = this.scroller.clientWidth;
    if (!width) return; // the other view is open
    const least = width < 620 ? 150 : 170;
    this.columns = Math.max(1, Math.floor((width - GAP) / (least + GAP)));
    this.side = (width - GAP * (this.columns + 1)) / this.columns;
    this.row = Math.round(this.side * ASPECT) + CAPTION + GAP;
    this.grid.style.height = `${Math.ceil(this.list.length / this.columns) * this.row + GAP}px`;
    this.clear();
    this.draw();
  }

  // places of the list whose cells are wholly, or nearly, in sight
  inSight() {
    const top = this.scroller.scrollTop, bottom = top + this.scroller.clientHeight;
    const first = Math.ceil((top - this.row * 0.3) / this.row), last = Math.floor((bottom - GAP - this.row * 0.7) / this.row);
    return this.list.map((i, at) => at).slice(Math.max(0, first) * this.columns, (last + 1) * this.columns);
  }

  draw() {
    if (!this.row) return;
    const top = this.scroller.scrollTop, bottom = top + this.scroller.clientHeight;
    const from = Math.max(0, Math.floor(top / this.row) - BEYOND) * this.columns;
    const to = Math.min(this.list.length, (Math.ceil(bottom / this.row) + BEYOND) * this.columns);
    for (const [at, cell] of this.cells) {
      if (at >= from && at < to) continue;
      cell.querySelector("img")?.removeAttribute("src"); // what is not needed any more is not loaded either
      cell.remove();
      this.cells.delete(at);
    }
    for (let at = from; at < to; at += 1) if (!this.cells.has(at)) this.add(at);
    this.onSight?.();
  }

  add(at) {
    const cell = document.createElement("button");
    cell.className = "cell";
    cell.dataset.at = at;
    cell.tabIndex = at === this.here ? 0 : -1;
    const height = this.row - GAP;
    cell.style.cssText = `width:${this.side}px;height:${height}px;left:${GAP + (at % this.columns) * (this.side + GAP)}px;top:${GAP + Math.floor(at / this.columns) * this.row}px`;
    const view = document.createElement("span");
    view.className = "view";
    view.style.height = `${height - CAPTION - 4}px`;
    const picture = document.createElement("img");
    picture.alt = "";
    picture.decoding = "async";
    picture.onerror = () => this.lost(view, picture, this.list[at]);
    picture.src = `thumbnail/${this.list[at]}`;
    const caption = document.createElement("span");
    caption.className = "caption";
    view.append(picture);
    cell.append(view, caption);
    this.cells.set(at, cell);
    this.grid.append(cell);
    this.renew(at);
  }

  lost(view, picture, i) {
    picture.remove();
    const note = document.createElement("span");
    note.className = "lost";
    note.textContent = "cannot be shown";
    view.append(note);
    fetch(`thumbnail/${i}`).then((answer) => answer.json()).then((said) => { note.textContent = said.error || note.textContent; }, () => {});
  }

  // what is said of an image may have changed; its picture has not
  renew(at) {
    const cell = this.cells.get(at);
    if (!cell) return;
    const image = this.model.shown(this.list[at]);
    const status = STATUSES[image.st];
    cell.classList.toggle("here", at === this.here);
    cell.classList.toggle("waiting", this.model.waits(image.i));
    cell.tabIndex = at === this.here ? 0 : -1;
    cell.setAttribute("aria-label", `${image.f}, score ${image.s.toFixed(2)}, ${status}`);
    cell.title = image.f;
    cell.querySelector("svg")?.remove();
    if (image.w && image.h) cell.firstChild.append(drawing(image, this.model));
    const mark = document.createElement("span");
    mark.className = `state ${status}`;
    mark.textContent = this.model.waits(image.i) ? "…" : MARKS[status];
    const score = document.createElement("span");
    score.textContent = image.s.toFixed(2);
    const file = document.createElement("span");
    file.className = "file";
    file.textContent = `\u200e${image.f}`;
    cell.lastChild.replaceChildren(score, file, mark);
  }

  renewAll() {
    for (const at of this.cells.keys()) this.renew(at);
  }

  // an image that nobody has seen is not accepted
  isSeen(at) {
    const picture = this.cells.get(at)?.querySelector("img");
    return Boolean(picture && picture.complete && picture.naturalWidth);
  }

  go(to, focus = true) {
    const before = this.here;
    this.here = Math.min(Math.max(0, to), Math.max(0, this.list.length - 1));
    const top = Math.floor(this.here / this.columns) * this.row, view = this.scroller;
    if (top < view.scrollTop) view.scrollTop = top;
    if (top + this.row + GAP > view.scrollTop + view.clientHeight) view.scrollTop = top + this.row + GAP - view.clientHeight;
    this.draw();
    this.renew(before);
    this.renew(this.here);
    if (focus) this.cells.get(this.here)?.focus({ preventScroll: true });
  }
}

function drawing(image, model) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", `0 0 ${image.w} ${image.h}`);
  svg.setAttribute("aria-hidden", "true");
  for (const [x1, y1, x2, y2, kind] of image.o) {
    for (const name of ["halo", "box"]) {
      const line = document.createElementNS(SVG, "rect");
      line.setAttribute("class", name);
      for (const [key, value] of Object.entries({ x: x1, y: y1, width: x2 - x1, height: y2 - y1 })) line.setAttribute(key, value);
      if (name === "box") line.setAttribute("stroke", COLOURS[model.kindNumber(kind) % COLOURS.length]);
      svg.append(line);
    }
  }
  return svg;
}
