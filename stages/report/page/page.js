// The filter, the charts, and the link to a number's provenance. Without it the page shows everything but the charts.
"use strict";

const filter = document.getElementById("filter");
const views = [];

// The boxes that are checked on one axis; none checked means all.
function chosen(axis) {
  const boxes = [...filter.querySelectorAll(`input[name="${axis}"]`)];
  const checked = boxes.filter((box) => box.checked);
  return checked.length ? checked : boxes;
}

const labels = (axis) => chosen(axis).map((box) => box.dataset.label);
const signals = () => ({ datasets: labels("dataset"), methods: labels("method"), algorithms: labels("algorithm") });

function apply() {
  for (const axis of ["dataset", "method", "algorithm"]) {
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
  const { datasets, methods, algorithms } = signals();
  for (const { view, panel, element } of views) {
    const shown = (row) =>
      [row.method, row.over ?? row.method].every((name) => methods.includes(name)) &&
      (row.dataset === undefined || datasets.includes(row.dataset));
    const any = panel.rows.some(shown);
    element.closest(".panel").classList.toggle("no-method", !any);
    if (any) view.signal("datasets", datasets).signal("methods", methods).signal("algorithms", algorithms).run();
  }
}

async function draw(element, panel, kinds) {
  const spec = structuredClone(kinds[panel.kind]);
  const values = { ...panel.values, ...signals() };
  for (const param of spec.params) param.value = values[param.name] ?? param.value;
  spec.datasets = { rows: panel.rows };
  spec.description = panel.alt;
  const { view } = await vegaEmbed(element, spec, { actions: false, renderer: "svg" });
  views.push({ view, panel, element });
}

async function drawAll() {
  const { panels, kinds } = JSON.parse(document.getElementById("panels").textContent);
  const elements = [...document.querySelectorAll(".chart")];
  for (const [k, element] of elements.entries()) await draw(element, panels[k], kinds);
  apply();
  document.body.dataset.charts = "drawn";
}

// A jump target must not hide behind the filter.
function clear() {
  const height = getComputedStyle(filter).position === "sticky" ? filter.offsetHeight : 0;
  document.documentElement.style.scrollPaddingTop = `${height + 16}px`;
}

// A number leads to its record, which is collapsed further down.
function unfold() {
  const record = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (record && record.matches("details")) {
    record.open = true;
    record.querySelector("summary").focus({ preventScroll: true });
    record.scrollIntoView();
  }
}

filter.hidden = false;
filter.addEventListener("change", apply);
filter.addEventListener("reset", () => setTimeout(apply));
addEventListener("hashchange", unfold);
addEventListener("click", (event) => {
  const link = event.target.closest("a");
  if (!link || link.hash !== location.hash) return;
  event.preventDefault(); // the same number once more, which fires no hashchange
  unfold();
});
addEventListener("resize", clear);
clear();
unfold();
drawAll();
