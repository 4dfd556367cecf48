// Which images are shown, in which order, and how many there are of each kind

export const STATUSES = ["unreviewed", "accepted", "corrected", "none"];
export const BINS = 20;
export const binOf = (score) => Math.min(BINS - 1, Math.max(0, Math.floor(score * BINS)));

const passes = {
  status: (image, filter) => filter.status === "all" || STATUSES[image.st] === filter.status,
  kind: (image, filter) => filter.kind === null || image.o.some((object) => object[4] === filter.kind),
  name: (image, filter) => !filter.name || image.f.toLowerCase().includes(filter.name.toLowerCase()),
  bins: (image, filter) => !filter.bins || (binOf(image.s) >= filter.bins[0] && binOf(image.s) <= filter.bins[1]),
};

const all = (image, filter, but) => Object.keys(passes).every((key) => key === but || passes[key](image, filter));

const names = new Intl.Collator(undefined, { numeric: true });
const ORDERS = {
  doubt: (a, b) => a.s - b.s || a.i - b.i,
  sure: (a, b) => b.s - a.s || a.i - b.i,
  name: (a, b) => names.compare(a.f, b.f) || a.i - b.i,
  recent: (a, b) => b.seq - a.seq || a.s - b.s || a.i - b.i,
};

export const chosen = (images, filter, order) => images.filter((image) => all(image, filter)).sort(ORDERS[order]).map((image) => image.i);

export function counts(images, filter, kinds) {
  const statuses = Object.fromEntries(STATUSES.map((name) => [name, 0]));
  const ofKind = new Map(kinds.map((kind) => [kind.id, 0]));
  const bins = new Array(BINS).fill(0);
  let reviewed = 0, total = 0;
  for (const image of images) {
    reviewed += image.st > 0;
    if (all(image, filter, "status")) { statuses[STATUSES[image.st]] += 1; total += 1; }
    if (all(image, filter, "bins")) bins[binOf(image.s)] += 1;
    if (all(image, filter, "kind")) for (const kind of new Set(image.o.map((object) => object[4]))) ofKind.set(kind, (ofKind.get(kind) || 0) + 1);
  }
  return { statuses, total, reviewed, ofKind, bins };
}
