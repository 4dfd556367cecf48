// Boxes [x1, y1, x2, y2] in pixels of the image, never rounded, and where they are on the screen

export const COLOURS = ["#35d07f", "#4cb5ff", "#ffc53d", "#ff7ad9", "#b79bff", "#ff8a5c", "#3fe0e0", "#d7e34b", "#ffffff"];
export const LEAST = 1; // pixels that a box is wide and high at least

const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

// the view of an image on a stage: screen = image * scale + (x, y)
export function fitted(image, stage) {
  const scale = Math.min(stage.width / image.w, stage.height / image.h) * 0.96;
  return { scale, x: (stage.width - image.w * scale) / 2, y: (stage.height - image.h * scale) / 2 };
}

export function zoomed(view, factor, at, least) {
  const scale = clamp(view.scale * factor, least, 64);
  const by = scale / view.scale;
  return { scale, x: at.x - (at.x - view.x) * by, y: at.y - (at.y - view.y) * by };
}

export const toImage = (view, p) => ({ x: (p.x - view.x) / view.scale, y: (p.y - view.y) / view.scale });
export const toScreen = (view, b) => [b[0] * view.scale + view.x, b[1] * view.scale + view.y, b[2] * view.scale + view.x, b[3] * view.scale + view.y];

// a box from two corners in any order, inside the image
export function between(a, b, image) {
  const x1 = clamp(Math.min(a.x, b.x), 0, image.w), x2 = clamp(Math.max(a.x, b.x), 0, image.w);
  const y1 = clamp(Math.min(a.y, b.y), 0, image.h), y2 = clamp(Math.max(a.y, b.y), 0, image.h);
  return [x1, y1, x2, y2];
}

export function moved(box, dx, dy, image) {
  const sx = clamp(dx, Math.min(0, -box[0]), Math.max(0, image.w - box[2]));
  const sy = clamp(dy, Math.min(0, -box[1]), Math.max(0, image.h - box[3]));
  return [box[0] + sx, box[1] + sy, box[2] + sx, box[3] + sy];
}

// `part` names the edges that are dragged: any of n s and w e; the others keep their very numbers
export function resized(box, part, dx, dy, image) {
  const out = box.slice();
  if (part.includes("w")) out[0] = clamp(box[0] + dx, 0, box[2] - LEAST);
  if (part.includes("e")) out[2] = clamp(box[2] + dx, box[0] + LEAST, image.w);
  if (part.includes("n")) out[1] = clamp(box[1] + dy, 0, box[3] - LEAST);
  if (part.includes("s")) out[3] = clamp(box[3] + dy, box[1] + LEAST, image.h);
  return out;
}

export const large = (box) => box[2] - box[0] >= LEAST && box[3] - box[1] >= LEAST;

// what of a box on the screen is at a point: edges' letters, "in", or ""
export function partAt(screen, p, reach) {
  const [x1, y1, x2, y2] = screen;
  if (p.x < x1 - reach || p.x > x2 + reach || p.y < y1 - reach || p.y > y2 + reach) return "";
  // a small box keeps a middle by which it can be moved
  const rx = Math.min(reach, Math.max(2, (x2 - x1) / 4)), ry = Math.min(reach, Math.max(2, (y2 - y1) / 4));
  const west = p.x < x1 + rx, east = p.x > x2 - rx, north = p.y < y1 + ry, south = p.y > y2 - ry;
  return (north ? "n" : south ? "s" : "") + (west ? "w" : east ? "e" : "") || "in";
}

// the box that a point means: the selected one first, then the smallest
export function hit(objects, selected, view, p, reach) {
  const found = [];
  objects.forEach((object, n) => {
    const screen = toScreen(view, object.box);
    const part = partAt(screen, p, reach);
    if (part) found.push({ n, part, area: (screen[2] - screen[0]) * (screen[3] - screen[1]) });
  });
  found.sort((a, b) => (b.n === selected) - (a.n === selected) || a.area - b.area);
  return found[0] || null;
}
