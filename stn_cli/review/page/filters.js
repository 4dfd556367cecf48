// Which images are shown, in which order, and how many there are of each kind

export const STATUSES = ["unreviewed", "accepted", "corrected", "none"];
export const BINS = 20;
export const binOf = (score) => Math.min(BINS - 1, Math.max(0, Math.floor(score * BINS)));

// which of the four filters an image passes: status, kind, name, bins
function passed(image, filter, part) {
  return [
    filter.status === "all" || STATUSES[image.st] === filter.status,
    filter.kind === null || image.o.some((object) => object[4] === filter.kind),
    !part || image.f.toLowerCase().includes(part),
    !filter.bins || (binOf(image.s) >= filter.bins[0] && binOf(image.s) <= filter.bins[1]),
  ];
}

const names = new Intl.Collator(undefined, { numeric: true });
const ORDERS = {
  doubt: (a, b) => a.s - b.s || a.i - b.i,
  sure: (a, b) => b.s - a.s || a.i - b.i,
  name: (a, b) => names.compare(a.f, b.f) || a.i - b.i,
  recent: (a, b) => b.seq - a.seq || a.s - b.s || a.i - b.i,
};

export function chosen(images, filter, order) {
  const part = filter.name.toLowerCase();
  return images.filter((image) => passed(image, filter, part).every(Boolean)).sort(ORDERS[order]).map((image) => image.i);
}

// what each button would show: all filters but its own are applied
export function counts(images, filter, kinds) {
  const part = filter.name.toLowerCase();
  const statuses = Object.fromEntries(STATUSES.map((name) => [name, 0]));
  const ofKind = new Map(kinds.map((kind) => [kind.id, 0]));
  const bins = new Array(BINS).fill(0);
  let reviewed = 0, total = 0;
  for (const image of images) {
    if (image.st > 0) reviewed += 1;
    const [status, kind, name, score] = passed(image, filter, part);
    if (kind && name && score) {
      statuses[STATUSES[image.st]] += 1;
      total += 1;
    }
    if (status && kind && name) bins[binOf(image.s)] += 1;
    if (status && name && score) for (const id of new Set(image.o.map((object) => object[4]))) ofKind.set(id, (ofKind.get(id) || 0) + 1);
  }
  return { statuses, total, reviewed, ofKind, bins };
}
