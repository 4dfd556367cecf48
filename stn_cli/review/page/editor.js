// One image large: its boxes are drawn, moved, resized, renamed and deleted, by mouse, finger and keyboard

import { COLOURS, between, fitted, hit, large, moved, resized, toImage, toScreen, zoomed } from "./boxes.js";

const SVG = "http://www.w3.org/2000/svg";
const CURSORS = { n: "ns-resize", s: "ns-resize", w: "ew-resize", e: "ew-resize", nw: "nwse-resize", se: "nwse-resize", ne: "nesw-resize", sw: "nesw-resize", in: "move" };
const KEPT = 4; // pictures that are kept ready

export class Editor {
  // `model` as the grid's; `commit(i, objects)` is told what a person made of an image's boxes
  constructor(stage, model, commit) {
    Object.assign(this, { stage, model, commit });
    this.picture = stage.querySelector("#picture");
    this.drawing = stage.querySelector("#drawing");
    this.fault = stage.querySelector("#fault");
    this.i = null;
    this.objects = [];
    this.selected = -1;
    this.kind = null;
    this.pointers = new Map();
    this.pictures = new Map();
    this.space = false;
    this.armed = false; // the next drag draws, also where a box lies
    stage.addEventListener("pointerdown", (event) => this.down(event));
    stage.addEventListener("pointermove", (event) => this.move(event));
    for (const name of ["pointerup", "pointercancel"]) stage.addEventListener(name, (event) => this.up(event));
    stage.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    stage.addEventListener("contextmenu", (event) => event.preventDefault());
    new ResizeObserver(() => this.fit()).observe(stage);
  }

  get image() { return this.model.images[this.i]; }
  get usable() { return this.i !== null && this.ready && this.image.w > 0 && this.image.h > 0; }

  async show(i, following) {
    this.i = i;
    this.ready = this.armed = false;
    this.drag = null;
    this.selected = -1;
    this.fault.hidden = true;
    this.picture.style.visibility = "hidden";
    this.renew();
    this.fit();
    try {
      const url = await this.load(i);
      if (this.i !== i) return;
      this.picture.src = url;
      await this.picture.decode();
      if (this.i !== i) return;
      this.picture.style.visibility = "";
      this.ready = true;
    } catch (error) {
      if (this.i !== i) return;
      this.fault.textContent = `This image cannot be shown: ${error.message}`;
      this.fault.hidden = false;
    }
    this.draw();
    this.onReady?.();
    if (following !== undefined) this.load(following).catch(() => {});
  }

  load(i) {
    if (this.pictures.has(i)) return this.pictures.get(i);
    const loading = fetch(`image/${i}`).then(async (answer) => {
      if (!answer.ok) throw new Error((await answer.json()).error);
      return URL.createObjectURL(await answer.blob());
    });
    this.pictures.set(i, loading);
    loading.catch(() => this.pictures.delete(i)); // it may come back
    for (const [old, url] of this.pictures) {
      if (this.pictures.size <= KEPT) break;
      if (old === i || old === this.i) continue;
      this.pictures.delete(old);
      url.then((text) => URL.revokeObjectURL(text), () => {});
    }
    return loading;
  }

  // the image as the model has it now
  renew() {
    if (this.i === null || this.drag) return;
    const before = this.objects[this.selected];
    this.objects = this.model.shown(this.i).o.map(([x1, y1, x2, y2, kind, score, human]) => ({ box: [x1, y1, x2, y2], kind, score, human }));
    if (before) this.selected = this.objects.findIndex((object) => object.box.every((value, n) => value === before.box[n]));
    if (this.selected < 0 && before) this.selected = Math.min(this.objects.length - 1, this.objects.length ? 0 : -1);
    if (this.selected < 0 && this.objects.length === 1) this.selected = 0;
    this.draw();
  }

  fit() {
    const size = { width: this.stage.clientWidth, height: this.stage.clientHeight };
    if (this.i === null || !size.width) return;
    const { w, h } = this.image;
    this.view = fitted({ w: w || 1, h: h || 1 }, size);
    this.least = this.view.scale / 2;
    this.draw();
  }

  zoom(factor, at = { x: this.stage.clientWidth / 2, y: this.stage.clientHeight / 2 }) {
    this.view = zoomed(this.view, factor, at, this.least);
    this.draw();
  }

  draw() {
    if (this.i === null || !this.view) return;
    const { w, h } = this.image;
    const { scale, x, y } = this.view;
    Object.assign(this.picture.style, { width: `${w}px`, height: `${h}px`, transform: `translate(${x}px, ${y}px) scale(${scale})`, imageRendering: scale > 3 ? "pixelated" : "auto" });
    this.drawing.replaceChildren();
    this.objects.forEach((object, n) => this.drawing.append(this.drawn(object, n)));
    if (this.drag?.new) this.drawing.append(this.drawn({ box: this.drag.new, kind: this.kindOfNew() }, -2));
    this.onDraw?.();
  }

  drawn(object, n) {
    const group = document.createElementNS(SVG, "g");
    const [x1, y1, x2, y2] = toScreen(this.view, object.box);
    if (n === this.selected) group.classList.add("selected");
    if (this.model.waits(this.i)) group.classList.add("waiting");
    const add = (name, attributes) => {
      const node = document.createElementNS(SVG, name);
      for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
      group.append(node);
      return node;
    };
    const place = { x: x1, y: y1, width: x2 - x1, height: y2 - y1 };
    add("rect", { class: "halo", ...place });
    add("rect", { class: "box", ...place, stroke: COLOURS[this.model.kindNumber(object.kind) % COLOURS.length] });
    const said = [];
    if (this.model.kinds.length > 1) said.push(this.model.kindName(object.kind));
    if (object.human) said.push("✎");
    else if (object.score !== null && object.score !== undefined) said.push(object.score.toFixed(2));
    if (said.length) add("text", { x: Math.max(x1, 2) + 4, y: Math.max(y1, 0) + 16 }).textContent = said.join(" ");
    if (n === this.selected) {
      for (const hx of [x1, (x1 + x2) / 2, x2]) {
        for (const hy of [y1, (y1 + y2) / 2, y2]) {
          if (hx === (x1 + x2) / 2 && hy === (y1 + y2) / 2) continue;
          add("rect", { class: "handle", x: hx - 4, y: hy - 4, width: 8, height: 8 });
        }
      }
    }
    return group;
  }

  kindOfNew() { return this.kind ?? this.objects[this.selected]?.kind ?? this.model.kinds[0].id; }

  point(event) {
    const frame = this.stage.getBoundingClientRect();
    return { x: event.clientX - frame.left - this.stage.clientLeft, y: event.clientY - frame.top - this.stage.clientTop };
  }

  down(event) {
    if (this.i === null) return;
    const p = this.point(event);
    this.stage.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, p);
    if (this.pointers.size === 2) { // two fingers: what the first began is given up
      this.abandon();
      this.drag = { pinch: true };
      return;
    }
    if (this.pointers.size > 2) return;
    if (event.button === 1 || event.button === 2 || this.space) {
      event.preventDefault();
      this.drag = { pan: true, last: p };
      return;
    }
    if (event.button !== 0 || !this.usable) return;
    const reach = event.pointerType === "touch" ? 20 : 8;
    const found = this.armed || event.shiftKey ? null : hit(this.objects, this.selected, this.view, p, reach);
    const start = toImage(this.view, p);
    if (found) {
      this.selected = found.n;
      this.drag = { part: found.part, start, from: this.objects[found.n].box, at: p };
    } else {
      this.drag = { new: [start.x, start.y, start.x, start.y], start, at: p };
    }
    this.draw();
  }

  move(event) {
    const p = this.point(event);
    if (!this.drag) {
      const found = this.usable && !this.armed && !event.shiftKey ? hit(this.objects, this.selected, this.view, p, 8) : null;
      this.stage.style.cursor = this.space ? "grab" : found ? CURSORS[found.part] : "crosshair";
      return;
    }
    const before = this.pointers.get(event.pointerId);
    if (!before) return;
    if (this.drag.pinch) return this.pinch(event.pointerId, before, p);
    this.pointers.set(event.pointerId, p);
    if (this.drag.pan) {
      this.view = { ...this.view, x: this.view.x + p.x - this.drag.last.x, y: this.view.y + p.y - this.drag.last.y };
      this.drag.last = p;
    } else {
      const now = toImage(this.view, p), { start, from, part } = this.drag;
      this.drag.far ||= Math.hypot(p.x - this.drag.at.x, p.y - this.drag.at.y) > 3; // a click is no drag
      if (!this.drag.far) return;
      if (this.drag.new) this.drag.new = between(start, now, this.image);
      else {
        const [dx, dy] = [now.x - start.x, now.y - start.y];
        this.objects[this.selected] = { ...this.objects[this.selected], box: part === "in" ? moved(from, dx, dy, this.image) : resized(from, part, dx, dy, this.image) };
      }
    }
    this.draw();
  }

  pinch(id, before, p) {
    const other = [...this.pointers].find(([key]) => key !== id)?.[1];
    this.pointers.set(id, p);
    if (!other) return;
    const factor = Math.max(1, Math.hypot(p.x - other.x, p.y - other.y)) / Math.max(1, Math.hypot(before.x - other.x, before.y - other.y));
    this.view = zoomed({ ...this.view, x: this.view.x + (p.x - before.x) / 2, y: this.view.y + (p.y - before.y) / 2 }, factor, { x: (p.x + other.x) / 2, y: (p.y + other.y) / 2 }, this.least);
    this.draw();
  }

  up(event) {
    const was = this.drag;
    this.pointers.delete(event.pointerId);
    if (was?.pinch && this.pointers.size) return; // the finger that is left draws nothing
    if (event.type === "pointercancel") return this.abandon();
    this.drag = null;
    if (!was || was.pan || was.pinch) return;
    this.armed = false;
    if (was.new) {
      if (was.far && large(was.new)) return this.add(was.new);
      this.selected = -1;
      return this.draw();
    }
    if (was.far) this.done();
    else this.draw();
  }

  // a drag that is not finished leaves the boxes as they were
  abandon() {
    this.drag = null;
    this.renew();
  }

  wheel(event) {
    event.preventDefault();
    if (this.i !== null) this.zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0015)), this.point(event));
  }

  done() { this.commit(this.i, this.objects.map(({ box, kind }) => ({ box, kind }))); }

  add(box) {
    this.objects = [...this.objects, { box, kind: this.kindOfNew(), human: 1 }];
    this.selected = this.objects.length - 1;
    this.done();
  }

  // once: the next drag draws; twice: a box in the middle, for whoever has no mouse
  draws() {
    if (!this.usable) return;
    if (this.armed) this.addInMiddle();
    this.armed = !this.armed;
    this.stage.style.cursor = "crosshair";
    this.draw();
  }

  addInMiddle() {
    const a = toImage(this.view, { x: this.stage.clientWidth * 0.35, y: this.stage.clientHeight * 0.35 });
    const b = toImage(this.view, { x: this.stage.clientWidth * 0.65, y: this.stage.clientHeight * 0.65 });
    const box = between(a, b, this.image);
    if (large(box)) this.add(box);
  }

  remove() {
    if (!this.usable || this.selected < 0) return;
    this.objects = this.objects.filter((object, n) => n !== this.selected);
    this.selected = Math.min(this.selected, this.objects.length - 1);
    this.done();
  }

  rename(kind) {
    this.kind = kind;
    const object = this.objects[this.selected];
    if (this.usable && object && object.kind !== kind) {
      this.objects[this.selected] = { ...object, kind };
      this.done();
    } else this.draw();
  }

  // by pixels of the screen, so that a step is as small as it can be seen
  step(dx, dy, corner) {
    const object = this.objects[this.selected];
    if (!this.usable || !object) return;
    const [x, y] = [dx / this.view.scale, dy / this.view.scale];
    this.objects[this.selected] = { ...object, box: corner ? resized(object.box, "se", x, y, this.image) : moved(object.box, x, y, this.image) };
    this.done();
  }

  choose(by) {
    if (!this.objects.length) return;
    this.selected = (this.selected + by + this.objects.length) % this.objects.length;
    this.draw();
  }
}
