// The filter, kept in the address; the charts, one after another, when their section is unfolded; and links to folded
// parts.
// Without it the page shows everything but the charts.
"use strict";

const AXES = ["dataset", "method", "algorithm"];
const filter = document.getElementById("filter"), bar = document.getElementById("bar");
const views = [], drawing = new Map();
let calls = 0; // of drawOpen

// The boxes that are checked on one axis; none checked means all.
function chosen(axis) {
  const checked = boxes(axis).filter((box) => box.checked);
  return checked.length ? checked : boxes(axis);
}

const boxes = (axis) => [...filter.querySelectorAll(`input[name="${axis}"]`)];
const signals = (of) =>
  Object.fromEntries(AXES.map((axis) => [`${axis}s`, of(axis).map((box) => box.dataset.label)]));
const filtered = () => AXES.some((axis) => chosen(axis).length < boxes(axis).length);

// The address names what is checked on each axis on which not all is.
function write() {
  const address = new URL(location.href);
  for (const axis of AXES) {
    const names = chosen(axis).map((box) => box.value);
    if (names.length === boxes(axis).length) address.searchParams.delete(axis);
    else address.searchParams.set(axis, names.join(","));
  }
  if (address.href !== location.href) history.replaceState(null, "", address);
}

function read() {
  const asked = new URL(location.href).searchParams;
  for (const axis of AXES.filter((name) => asked.has(name))) {
    const names = asked.get(axis).split(",");
    for (const box of boxes(axis)) box.checked = names.includes(box.value);
  }
}

function apply() {
  for (const axis of AXES) {
    const names = new Set(chosen(axis).map((box) => box.value));
    for (const element of document.querySelectorAll(`[data-${axis}]`)) {
      const own = element.dataset[axis];
      element.classList.toggle(`no-${axis}`, own !== "" && !names.has(own));
    }
  }
  for (const field of filter.querySelectorAll("fieldset")) {
    field.classList.toggle("all", !field.querySelector("input:checked"));
  }
  for (const group of document.querySelectorAll(".grid tbody")) {
    group.classList.toggle("no-method", !group.querySelector("tr:not(.group, .no-method)"));
  }
  for (const heading of document.querySelectorAll(".grid .group th")) {
    heading.colSpan = heading.closest("table").querySelectorAll("thead th:not(.no-algorithm)").length;
  }
  views.forEach(update);
}

// Shows the filter's choice in one chart, or hides its panel if nothing is left. Methods outside the grid always stay.
function update({ view, rows, outside, element }) {
  const { datasets, methods, algorithms } = signals(chosen);
  methods.push(...outside);
  const shown = (row) =>
    [row.method, row.over ?? row.method].every((name) => methods.includes(name)) &&
    (row.dataset === undefined || datasets.includes(row.dataset));
  const any = rows.some(shown);
  element.closest(".panel").classList.toggle("no-method", !any);
  if (any) view.signal("datasets", datasets).signal("methods", methods).signal("algorithms", algorithms).run();
}

async function draw(element, panel) {
  const named = (row) => Object.fromEntries(panel.keys.map((key, k) => [key, row[k]]).filter(([, value]) => value !== null));
  const rows = panel.rows.map(named), all = signals(boxes); // a chart with nothing to show warns
  const outside = [...new Set(rows.map((row) => row.method))].filter((name) => !all.methods.includes(name));
  const spec = structuredClone(kinds[panel.kind]);
  const values = { ...panel.values, ...all, methods: [...all.methods, ...outside] };
  for (const param of spec.params) param.value = values[param.name] ?? param.value;
  spec.height = panel.values.height ?? spec.height;
  spec.datasets = { rows };
  spec.description = panel.alt;
  const { view } = await vegaEmbed(element, spec, { actions: false, renderer: "svg" });
  const drawn = { view, rows, outside, element };
  views.push(drawn);
  if (filtered()) update(drawn);
}

const { panels, kinds } = JSON.parse(document.getElementById("panels").textContent);
const PATIENCE = 50; // milliseconds after which the browser paints and answers before the next chart
const pause = () => new Promise((done) => setTimeout(done));

// Draws the charts that are in no folded section, once.
async function drawOpen() {
  const call = ++calls;
  let since = performance.now();
  delete document.body.dataset.charts;
  for (const [k, element] of [...document.querySelectorAll(".chart")].entries()) {
    if (element.closest("details:not([open])") || (await drawing.get(element))) continue;
    drawing.set(element, draw(element, panels[k]).then(() => true));
    await drawing.get(element);
    if (performance.now() - since < PATIENCE) continue;
    await pause();
    since = performance.now();
  }
  if (call === calls) document.body.dataset.charts = "drawn";
}

// A jump target must not hide behind the filter.
function clear() {
  const height = getComputedStyle(bar).position === "sticky" ? bar.offsetHeight : 0;
  document.documentElement.style.scrollPaddingTop = `${height + 16}px`;
}

// A number leads to its record, and the contents to a section; what is folded on the way there is unfolded.
function unfold() {
  const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (!target) return;
  for (let part = target.closest("details"); part; part = part.parentElement.closest("details")) part.open = true;
  target.querySelector("summary")?.focus({ preventScroll: true });
  target.scrollIntoView();
}

filter.hidden = false;
read();
filter.addEventListener("change", () => (apply(), write()));
filter.addEventListener("reset", () => setTimeout(() => (apply(), write())));
document.addEventListener("toggle", ({ target }) => target.open && target.querySelector(".chart") && drawOpen(), true);
addEventListener("hashchange", unfold);
addEventListener("click", (event) => {
  const link = event.target.closest("a");
  if (!link || link.hash !== location.hash) return;
  event.preventDefault(); // the same number once more, which fires no hashchange
  unfold();
});
addEventListener("resize", clear);
if (filtered()) apply();
clear();
unfold();
drawOpen();
