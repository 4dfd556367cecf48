// The page: what the server says, what a person does, and the two views of it

import { COLOURS } from "./boxes.js";
import { Editor } from "./editor.js";
import { BINS, STATUSES, chosen, counts } from "./filters.js";
import { Grid, markOf } from "./grid.js";
import { ActionQueue } from "./queue.js";

const POLL = 2000, AGAIN = 4000;
const $ = (selector) => document.querySelector(selector);
const $$ = (selector) => [...document.querySelectorAll(selector)];
const NAMES = { all: "All", unreviewed: "Unreviewed", accepted: "Accepted", corrected: "Corrected", none: "No object" };

const filter = { status: "unreviewed", kind: null, name: "", bins: null };
let order = "doubt", seq = 0, notes = [], unsaved = "", gone = "", learning = {}, dismissed = "", mine = [], at = 0, work = [], steps = 0;

const page = sessionStorage.getItem("page") || crypto.randomUUID();
sessionStorage.setItem("page", page); // undo goes on after the page is loaded again

const model = {
  images: [],
  kinds: [],
  kindNumber(id) { return Math.max(0, this.kinds.findIndex((kind) => kind.id === id)); },
  kindName(id) { return this.kinds.find((kind) => kind.id === id)?.name ?? String(id); },
  waits(i) { return Boolean(queue.waits(i)); },
  // an image as it will be once all that waits is on disk
  shown(i) {
    const image = this.images[i], waiting = queue.waits(i);
    if (!waiting) return image;
    if (waiting.status === "corrected") return { ...image, st: 2, o: waiting.objects.map(({ box, kind }) => [...box, kind, null, 1]) };
    return { ...image, st: STATUSES.indexOf(waiting.status), o: waiting.status === "none" ? [] : image.o };
  },
};

async function post(path, body) {
  const answer = await fetch(path, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });
  return { status: answer.status, body: await answer.json() };
}

const queue = new ActionQueue(post, page, {
  applied(images, why, from) {
    take(images);
    if (why === "undo" && images.length) say(images.length === 1 ? `Undone: ${images[0].f}` : `Undone: ${images.length} images`);
    // what was undone is shown, unless the person has gone on meanwhile
    if (why === "undo" && images.length === 1 && from === steps && !$("#editor").hidden && editor.i !== images[0].i) goTo(images[0].i);
  },
  seen: () => model.boxes,
  changed() { keep(); refresh(); },
  conflict(kept, others, why) {
    if (kept.length) mine = kept;
    else say(others ? `${others} of them: ${why}; left as they are there` : why);
    refresh();
  },
  refused(why) { say(why); refresh(); },
});
queue.seqOf = (i) => model.images[i].seq;

const editor = new Editor($("#stage"), model, (i, objects) => act([{ i, status: objects.length ? "corrected" : "none", objects }]));
const grid = new Grid($("#scroller"), model, (place) => openAt(grid.list, place));
grid.onSight = () => renewAccept();
editor.onDraw = () => renewTools();
editor.onReady = () => renewTools();

// what is not saved yet outlives this page: the next one at the same port offers to do it
const keepName = () => `unsaved ${model.boxes} ${page}`;
let left = [];

function keep() {
  if (!model.boxes) return;
  if (queue.items.length) localStorage.setItem(keepName(), JSON.stringify(queue.items));
  else localStorage.removeItem(keepName());
}

function findLeft() {
  for (const name of Object.keys(localStorage)) {
    if (!name.startsWith(`unsaved ${model.boxes} `)) continue;
    const acts = JSON.parse(localStorage.getItem(name)).filter((item) => item.path === "act");
    const images = acts.flatMap((item) => item.images).filter((image) => model.images[image.i]?.f === image.f);
    if (images.length) left.push({ name, acts: acts.map((item) => item.images.filter((image) => model.images[image.i]?.f === image.f)) });
    else localStorage.removeItem(name);
  }
}

function leave(doThem) {
  for (const { name, acts } of left) {
    localStorage.removeItem(name);
    if (doThem) for (const images of acts) if (images.length) queue.act(images);
  }
  left = [];
  refresh();
}

const act = (images) => queue.act(images.map((image) => ({ ...image, f: model.images[image.i].f, base: model.images[image.i].seq })));

function take(images) {
  for (const image of images) if (!model.images[image.i] || image.seq >= model.images[image.i].seq) model.images[image.i] = image;
}

// ---- what is shown ----

function refresh() {
  renewBanner();
  renewSaved();
  const found = counts(model.images, filter, model.kinds);
  renewFilters(found);
  $("#progress").textContent = `${found.reviewed.toLocaleString()} of ${model.images.length.toLocaleString()} reviewed`;
  renewLearn(found.reviewed);
  grid.renewAll();
  renewAccept();
  if (!$("#editor").hidden) { editor.renew(); renewTools(); }
}

function renewBanner() {
  const lines = [], banner = $("#banner"), waiting = queue.items.length;
  const buttons = [];
  if (queue.fault || gone) {
    const many = waiting ? ` ${waiting === 1 ? "One action is" : `${waiting} actions are`} not saved yet: leave this page open.` : " All that was done is saved.";
    lines.push((queue.fault === "gone" || (!queue.fault && gone === "gone") ? "The review has ended or does not answer. Start stn-coloc review again, and open the address that it prints." : `Not saved: ${queue.fault || gone}.`) + many);
    buttons.push(["Try again", () => { queue.run(); poll(); }]);
  }
  if (mine.length) {
    lines.push(`${model.images[mine[0].i].f} was changed in another window meanwhile, and is shown as it is there.`);
    const keep = mine[0];
    buttons.push(["Keep theirs", () => { mine = []; refresh(); }], ["Use mine instead", () => { mine = []; act([{ i: keep.i, status: keep.status, objects: keep.objects }]); }]);
  }
  if (left.length) {
    const many = left.reduce((sum, { acts }) => sum + acts.length, 0);
    lines.push(`${many === 1 ? "One action" : `${many} actions`} of an earlier page could not be saved there.`);
    buttons.push([many === 1 ? "Do it now" : "Do them now", () => leave(true)], ["Forget", () => leave(false)]);
  }
  if (learning.fault && learning.fault !== dismissed) {
    lines.push(`Nothing was learnt: ${learning.fault}.`);
    buttons.push(["Dismiss", () => { dismissed = learning.fault; refresh(); }]);
  }
  if (unsaved) lines.push(`All actions are saved, but the corrected boxes are not written: ${unsaved}`);
  if (notes.length) { lines.push(...notes.map((note) => `Note: ${note}.`)); buttons.push(["Dismiss", () => { notes = []; refresh(); }]); }
  banner.hidden = !lines.length;
  const text = document.createElement("span");
  text.textContent = lines.join(" ");
  const key = lines.join("\n") + buttons.map(([name]) => name).join();
  if (banner.dataset.key === key) return; // a button must not vanish under the pointer
  banner.dataset.key = key;
  banner.replaceChildren(text, ...buttons.map(([name, run]) => button(name, run)));
}

function renewSaved() {
  for (const node of $$(".saved")) {
    node.textContent = queue.items.length ? `saving ${queue.items.length}…` : "saved";
    node.classList.toggle("waiting", queue.items.length > 0);
  }
}

// a review of boxes that are of no run has nothing to learn with
function renewLearn(reviewed) {
  const node = $("#learn");
  node.hidden = !learning.can;
  node.disabled = !reviewed || learning.works;
  node.textContent = learning.works ? `Learning… ${learning.seconds} s` : "Learn from these";
  $("#learning").textContent = learning.works ? learning.note.split(". ")[0] : "";
}

async function learn() {
  dismissed = "";
  try {
    const { status, body } = await post("learn", { page });
    if (status !== 200) return say(body.error);
    ({ learning } = body);
    refresh();
    say("Learning from your corrections. Go on meanwhile: further ones go along");
  } catch {
    gone = "gone";
    refresh();
  }
}

function button(text, run, pressed) {
  const made = document.createElement("button");
  made.textContent = text;
  made.onclick = run;
  if (pressed !== undefined) made.setAttribute("aria-pressed", String(pressed));
  return made;
}

// the buttons stay the same ones, so that the focus stays where it is
function renewGroup(group, rows) {
  while (group.children.length > rows.length) group.lastChild.remove();
  rows.forEach(([text, run, pressed, title, colour], n) => {
    const node = group.children[n] || group.appendChild(document.createElement("button"));
    node.onclick = run;
    node.setAttribute("aria-pressed", String(pressed));
    if (node.dataset.text === text) return;
    node.dataset.text = text;
    node.title = title || "";
    node.replaceChildren(...(colour ? [Object.assign(document.createElement("i"), { className: "key" })] : []), text);
    if (colour) node.firstChild.style.background = colour;
  });
}

function renewFilters(found) {
  const number = { all: found.total, ...found.statuses };
  renewGroup($("#statuses"), ["unreviewed", "accepted", "corrected", "none", "all"].map((name) => [`${NAMES[name]} ${number[name].toLocaleString()}`, () => { filter.status = name; list(); }, filter.status === name]));
  const several = model.kinds.length > 1;
  renewGroup($("#kinds"), several ? [["Any kind", () => { filter.kind = null; list(); }, filter.kind === null], ...model.kinds.map((kind, n) => [`${kind.name} ${found.ofKind.get(kind.id).toLocaleString()}`, () => { filter.kind = kind.id; list(); }, filter.kind === kind.id, "", COLOURS[n % COLOURS.length]])] : []);
  const bars = $("#histogram"), most = Math.max(1, ...found.bins);
  while (bars.children.length < BINS) {
    const bin = bars.children.length;
    const bar = button("", (event) => chooseBin(bin, event.shiftKey), false);
    bar.append(document.createElement("i"));
    bars.append(bar);
  }
  found.bins.forEach((count, bin) => {
    const bar = bars.children[bin];
    const label = `${(bin / BINS).toFixed(2)} to ${((bin + 1) / BINS).toFixed(2)}: ${count.toLocaleString()} image${count === 1 ? "" : "s"}`;
    bar.setAttribute("aria-label", `Score ${label}`);
    bar.title = `${label}\nclick: only these; Shift+click: up to here`;
    bar.setAttribute("aria-pressed", String(Boolean(filter.bins && bin >= filter.bins[0] && bin <= filter.bins[1])));
    bar.firstChild.style.height = count ? `${Math.max(6, 100 * count / most)}%` : "0";
  });
  $("#all-scores").hidden = !filter.bins;
  $("#scores-title").textContent = filter.bins ? `Scores ${(filter.bins[0] / BINS).toFixed(2)} to ${((filter.bins[1] + 1) / BINS).toFixed(2)}` : "Scores 0 to 1";
}

function chooseBin(bin, extend) {
  const [low, high] = filter.bins || [bin, bin];
  if (extend) filter.bins = [Math.min(low, bin), Math.max(high, bin)];
  else filter.bins = filter.bins && low === bin && high === bin ? null : [bin, bin];
  list();
}

function list(keep = false) {
  grid.show(chosen(model.images, filter, order), { keep });
  const empty = $("#empty"), done = filter.status === "unreviewed" && !filter.bins && !filter.name && filter.kind === null;
  empty.hidden = grid.list.length > 0;
  empty.textContent = done ? "All images are reviewed." : "No image is like that.";
  refresh();
}

// ---- the grid ----

const acceptable = () => grid.inSight().filter((place) => model.shown(grid.list[place]).st === 0);

function renewAccept() {
  const count = acceptable().length, node = $("#accept-page");
  node.textContent = `Accept the ${count} in sight`;
  node.disabled = !count;
}

function acceptPage() {
  const sight = acceptable(), seen = sight.filter((place) => grid.isSeen(place)), images = seen.map((place) => grid.list[place]);
  if (!images.length) return say(sight.length ? "They cannot be seen yet: not accepted" : "Nothing in sight is unreviewed");
  act(images.map((i) => ({ i, status: "accepted" })));
  say(`Accepted ${images.length}${seen.length < sight.length ? `; ${sight.length - seen.length} could not be seen` : ""}. Z undoes it`);
  // what is accepted leaves a list of unreviewed ones, and the next ones come up; elsewhere the next ones are a screen further
  if (filter.status === "unreviewed") grid.show(grid.list.filter((i) => !images.includes(i)), { keep: true });
  else grid.go(Math.min(grid.list.length - 1, sight.at(-1) + 1));
  $("#empty").hidden = grid.list.length > 0;
  if (!grid.list.length) $("#empty").textContent = "All images are reviewed.";
  renewAccept();
}

// ---- one image ----

function openAt(images, place) {
  work = images.slice();
  grid.here = place;
  $("#overview").hidden = true;
  $("#editor").hidden = false;
  $("#stage").focus();
  showAt(place);
}

function goTo(i) {
  if (!work.includes(i)) work.splice(at, 0, i);
  showAt(work.indexOf(i));
}

function showAt(place) {
  if (place < 0) return say("This is the first image");
  if (place >= work.length) return say("That was the last image of this list: Esc goes back");
  at = place;
  steps += 1;
  editor.show(work[at], work[at + 1]);
  renewTools();
}

function close() {
  const i = work[at];
  $("#editor").hidden = true;
  $("#overview").hidden = false;
  editor.i = null;
  list(true);
  const place = grid.list.indexOf(i);
  grid.go(place >= 0 ? place : Math.min(grid.here, grid.list.length - 1));
}

function renewTools() {
  if (editor.i === null) return;
  const image = model.shown(editor.i), status = STATUSES[image.st];
  $("#name").textContent = image.f;
  $("#name").title = image.f;
  $("#where").textContent = `${(at + 1).toLocaleString()} of ${work.length.toLocaleString()} · score ${image.s.toFixed(2)}`;
  $("#state").className = `state ${status}`;
  $("#state").textContent = `${markOf(status)} ${NAMES[status].toLowerCase()}`;
  $("#delete").disabled = editor.selected < 0 || !editor.usable;
  for (const name of ["accept", "none", "new"]) $(`#${name}`).disabled = !editor.usable;
  $("#new").setAttribute("aria-pressed", String(editor.armed));
  $("#reset").disabled = image.st === 0;
  $("#previous").disabled = at === 0;
  $("#next").disabled = at === work.length - 1;
  const now = editor.objects[editor.selected]?.kind ?? editor.kind;
  renewGroup($("#kind-keys"), model.kinds.length > 1 ? model.kinds.map((kind, n) => [`${n < 9 ? `${n + 1} ` : ""}${kind.name}`, () => editor.rename(kind.id), kind.id === now, "", COLOURS[n % COLOURS.length]]) : []);
}

function draws(on = true) {
  if (on) editor.draws();
  else editor.armed = false;
  if (editor.armed) say("Drag a new box, also over others. N again: one in the middle. Esc: none");
  renewTools();
}

// what is already so is not said again; both go on to the next image
function judge(status) {
  const open = !$("#editor").hidden;
  const i = open ? editor.i : grid.list[grid.here];
  if (i === undefined) return;
  if (open ? !editor.usable : !grid.isSeen(grid.here)) return say("It cannot be seen, so it is not judged");
  const now = STATUSES[model.shown(i).st];
  const same = now === status || (status === "accepted" && now === "corrected");
  if (!same) act([{ i, status }]);
  if (status === "unreviewed") return;
  if (!open) return grid.go(grid.here + 1);
  showAt(at + 1);
}

// ---- keys ----

const KEYS = {
  a: () => judge("accepted"), x: () => judge("none"), r: () => judge("unreviewed"), z: () => queue.undo(steps), "?": () => $("#help").showModal(),
};
const GRID_KEYS = {
  ArrowLeft: () => grid.go(grid.here - 1), ArrowRight: () => grid.go(grid.here + 1), ArrowUp: () => grid.go(grid.here - grid.columns), ArrowDown: () => grid.go(grid.here + grid.columns),
  Home: () => grid.go(0), End: () => grid.go(grid.list.length - 1),
  PageDown: () => grid.go(grid.here + Math.max(1, grid.inSight().length)), PageUp: () => grid.go(grid.here - Math.max(1, grid.inSight().length)),
  Enter: () => grid.list.length && openAt(grid.list, grid.here),
};
const EDITOR_KEYS = {
  ArrowLeft: () => showAt(at - 1), ArrowRight: () => showAt(at + 1), ArrowUp: () => showAt(at - 1), ArrowDown: () => showAt(at + 1), Escape: () => (editor.armed ? draws(false) : close()),
  Delete: () => editor.remove(), Backspace: () => editor.remove(), n: () => draws(), "+": () => editor.zoom(1.25), "=": () => editor.zoom(1.25), "-": () => editor.zoom(0.8), 0: () => editor.fit(),
};
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

document.addEventListener("keydown", (event) => {
  const open = !$("#editor").hidden, typing = event.target.matches("input, select"), onButton = event.target.matches("button:not(.cell)");
  if ($("#help").open || event.metaKey) return;
  if (typing) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  let run = null;
  if (open && ARROWS[key] && (event.shiftKey || event.ctrlKey)) {
    const [dx, dy] = ARROWS[key].map((value) => value * (event.altKey ? 10 : 1));
    run = () => editor.step(dx, dy, event.ctrlKey);
  } else if (event.ctrlKey) {
    run = key === "z" ? KEYS.z : null;
  } else if (event.altKey) {
    run = null;
  } else if (event.shiftKey && key === "a") {
    run = open ? KEYS.a : acceptPage;
  } else if (open && key === "Tab" && event.target === $("#stage") && editor.objects.length > 1) {
    // Tab goes from box to box, and leaves the image after the last
    const last = event.shiftKey ? editor.selected <= 0 : editor.selected === editor.objects.length - 1;
    run = last ? null : () => editor.choose(event.shiftKey ? -1 : 1);
  } else if (open && key >= "1" && key <= "9") {
    run = model.kinds[Number(key) - 1] && (() => editor.rename(model.kinds[Number(key) - 1].id));
  } else if (open && key === " " && !onButton) {
    run = () => { editor.space = true; };
  } else if (!(onButton && (key === "Enter" || key === " "))) {
    run = KEYS[key] || (open ? EDITOR_KEYS : GRID_KEYS)[key];
  }
  if (!run) return;
  event.preventDefault();
  if (open && editor.drag && key !== " " && key !== "Escape") return; // a drag is finished first
  run();
});
document.addEventListener("keyup", (event) => { if (event.key === " ") editor.space = false; });
window.addEventListener("beforeunload", (event) => { if (queue.items.length) event.preventDefault(); });

// ---- buttons ----

const CLICKS = {
  learn, "accept-page": acceptPage, "all-scores": () => { filter.bins = null; list(); }, back: close, previous: () => showAt(at - 1), next: () => showAt(at + 1),
  accept: () => judge("accepted"), none: () => judge("none"), new: () => draws(), delete: () => editor.remove(), reset: () => judge("unreviewed"), fit: () => editor.fit(),
};
for (const [id, run] of Object.entries(CLICKS)) $(`#${id}`).addEventListener("click", run);
for (const node of $$(".undo")) node.addEventListener("click", () => queue.undo(steps));
for (const node of $$("button.help")) node.addEventListener("click", () => $("#help").showModal());
$("#order").addEventListener("change", (event) => { order = event.target.value; list(); });
$("#search").addEventListener("input", (event) => { filter.name = event.target.value.trim(); list(); });

let hiding = 0;
function say(text) {
  const toast = $("#toast");
  toast.textContent = text;
  toast.hidden = false;
  clearTimeout(hiding);
  hiding = setTimeout(() => { toast.hidden = true; }, 3500);
}

// ---- the server ----

async function poll() {
  try {
    const answer = await fetch(`changes?since=${seq}`);
    const body = await answer.json();
    if (!answer.ok) throw Object.assign(new Error(body.error), { said: true });
    const back = Boolean(gone);
    gone = "";
    seq = body.seq;
    take(body.images);
    if (body.boxes !== model.boxes && !queue.items.length && !mine.length && !editor.drag) return loadAnew();
    const other = unsaved !== body.unsaved || JSON.stringify(learning) !== JSON.stringify(body.learning);
    ({ unsaved, learning } = body);
    if (body.images.length || other || back) refresh();
  } catch (error) {
    const why = error.said ? error.message : "gone";
    if (gone !== why) { gone = why; refresh(); }
  }
}

// better boxes were found: this page loads them, and is at the same image again
function loadAnew() {
  sessionStorage.setItem("anew", JSON.stringify({ before: model.boxes, open: $("#editor").hidden ? null : model.images[editor.i].f }));
  location.reload();
}

function goOn(anew) {
  if (!anew || anew.before === model.boxes) return;
  notes.push(`these boxes were found anew after your corrections; the earlier ones stay in ${anew.before}`);
  const i = model.images.findIndex((image) => image.f === anew.open);
  if (i < 0) return refresh();
  openAt(grid.list, Math.max(0, grid.list.indexOf(i)));
  goTo(i);
  refresh();
}

async function begin() {
  const answer = await fetch("state");
  const state = await answer.json();
  model.kinds = state.kinds;
  model.boxes = state.boxes;
  ({ seq, notes, learning } = state);
  take(state.images);
  findLeft();
  document.title = `${state.boxes.split("/").slice(-2).join("/")} · stn-coloc review`;
  $("#files").textContent = `The corrected boxes: ${state.result}`;
  if (model.images.every((image) => image.st > 0)) filter.status = "all";
  list();
  grid.go(0);
  goOn(JSON.parse(sessionStorage.getItem("anew")));
  sessionStorage.removeItem("anew");
  setInterval(poll, POLL);
  setInterval(() => { if (queue.fault && queue.items.length) queue.run(); }, AGAIN);
}

begin().catch(() => { gone = "gone"; renewBanner(); });
