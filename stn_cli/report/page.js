// The report's pages, their order, and an image enlarged; without it all images are shown one below the other
(() => {
  const PAGE = 48;
  const sheet = document.getElementById("sheet");
  const figures = [...sheet.children];
  const pager = document.getElementById("pager"), where = document.getElementById("where");
  const [previous, next] = pager.querySelectorAll("button"), order = pager.querySelector("select");
  const names = new Intl.Collator(undefined, { numeric: true });
  const rank = (figure) => Number(figure.dataset.rank);
  const name = (figure) => figure.querySelector("figcaption span").textContent;
  const orders = {
    doubt: (a, b) => rank(a) - rank(b),
    sure: (a, b) => rank(b) - rank(a),
    name: (a, b) => names.compare(name(a), name(b)) || rank(a) - rank(b),
  };
  let page = 0;

  function show() {
    const from = page * PAGE, to = Math.min(figures.length, from + PAGE);
    figures.forEach((figure, n) => { figure.hidden = n < from || n >= to; });
    where.textContent = `${from + 1} to ${to} of ${figures.length}`;
    previous.disabled = page === 0;
    next.disabled = to === figures.length;
  }
  function turn(by) {
    page += by;
    show();
    pager.scrollIntoView({ block: "start" });
  }
  previous.addEventListener("click", () => turn(-1));
  next.addEventListener("click", () => turn(1));
  order.addEventListener("change", () => {
    figures.sort(orders[order.value]);
    sheet.append(...figures);
    page = 0;
    show();
  });
  pager.hidden = figures.length < 2;
  show();

  const dialog = document.getElementById("large"), stage = dialog.querySelector(".stage"), caption = dialog.querySelector(".caption");
  const [back, forth, close] = dialog.querySelectorAll("button");
  let row = [], at = 0;

  function enlarge(n) {
    at = Math.max(0, Math.min(row.length - 1, n));
    stage.replaceChildren(...[...row[at].querySelector(".view").children].map((node) => node.cloneNode(true)));
    caption.textContent = `${at + 1} of ${row.length} \u00b7 ${row[at].querySelector("figcaption").textContent.trim().replace(/\s+/g, " ")}`;
    back.disabled = at === 0;
    forth.disabled = at === row.length - 1;
  }
  document.addEventListener("click", (event) => {
    const view = event.target.closest(".view");
    if (!view) return;
    row = view.closest("#sheet") ? figures : [...view.closest(".sheet").children];
    enlarge(row.indexOf(view.closest("figure")));
    dialog.showModal();
  });
  back.addEventListener("click", () => enlarge(at - 1));
  forth.addEventListener("click", () => enlarge(at + 1));
  close.addEventListener("click", () => dialog.close());
  stage.addEventListener("click", () => dialog.close());
  dialog.addEventListener("keydown", (event) => {
    if (event.key === "ArrowLeft") enlarge(at - 1);
    else if (event.key === "ArrowRight") enlarge(at + 1);
    else return;
    event.preventDefault();
  });
})();
