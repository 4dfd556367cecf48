// Actions one after the other: none is shown as done before the server has it on disk, and none is dropped where that fails

// `post(path, body)` gives {status, body}, or throws where nobody answers
export class ActionQueue {
  constructor(post, page, { seen, applied, changed, conflict, refused }) {
    Object.assign(this, { post, page, seen, applied, changed, conflict, refused });
    this.items = [];
    this.fault = "";
    this.busy = false;
  }

  // `images`: [{i, base, status, objects}]; the base of an image that waits already is what the server will say of that
  act(images) {
    this._add({ path: "act", images: images.map((image) => ({ ...image, base: this.waits(image.i) ? null : image.base })) });
  }

  // `from` comes back with what was undone
  undo(from) {
    const last = this.items.at(-1);
    if (last && last.path === "act" && !(this.busy && this.items.length === 1)) {
      this.items.pop(); // it was never done
      this.changed();
      return;
    }
    this._add({ path: "undo", images: [], from });
  }

  // what an image will be when all that waits is done
  waits(i) {
    for (let n = this.items.length - 1; n >= 0; n -= 1) {
      const found = this.items[n].images.find((image) => image.i === i);
      if (found) return found;
    }
    return null;
  }

  _add(item) {
    this.items.push(item);
    this.changed();
    return this.run();
  }

  async run() {
    if (this.busy) return;
    this.busy = true;
    try {
      while (this.items.length) {
        if (!(await this._send(this.items[0]))) break;
        this.changed();
      }
    } finally {
      this.busy = false;
      this.changed();
    }
  }

  async _send(item) {
    const images = item.images.map((image) => ({ ...image, base: image.base ?? this.seqOf(image.i) }));
    let answer;
    try {
      answer = await this.post(item.path, item.path === "undo" ? { page: this.page } : { page: this.page, images, boxes: this.seen() });
    } catch {
      this.fault = "gone";
      return false;
    }
    const { status, body } = answer;
    if (status === 200) {
      this.fault = "";
      this.items.shift();
      this.applied(body.images, item.path, item.from);
      return true;
    }
    if (status === 409 && body.boxes === this.seen()) return this._conflict(item, body);
    if (status === 409 || status === 422 || status === 413) {
      this.items.shift();
      this.refused(body.error);
      return true;
    }
    this.fault = body.error || `the server answered ${status}`;
    return false;
  }

  // another window was first: theirs is shown, mine is kept until a person chooses; of many images the others are done all the same
  _conflict(item, body) {
    this.fault = "";
    const newer = new Set(body.images.map((image) => image.i));
    this.applied(body.images, "conflict");
    if (item.images.length > 1) {
      item.images = item.images.filter((image) => !newer.has(image.i));
      if (!item.images.length) this.items.shift();
      this.conflict([], newer.size, body.error);
      return true;
    }
    const mine = item.images.length ? this.waits(item.images[0].i) : null;
    this.items = this.items.filter((other) => other !== item && !(other.images.length === 1 && newer.has(other.images[0].i)));
    this.conflict(mine ? [mine] : [], newer.size, body.error);
    return true;
  }
}
