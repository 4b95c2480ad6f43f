// Imagined windows as stick figures, drawn over the simulator's; all of a data set play together or follow its slider.
"use strict";

const SVG = "http://www.w3.org/2000/svg";

function made(parent, name, attributes) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return parent.appendChild(element);
}

// The box around all frames of both figures, with x to the right and height upwards.
function extent(record, radius) {
  const ends = [...record.imagined, ...record.simulated].flat();
  const xs = ends.filter((_, k) => k % 2 === 0), heights = ends.filter((_, k) => k % 2 === 1);
  const room = 2 * Math.max(...radius);
  const left = Math.min(...xs) - room, bottom = Math.min(0, ...heights) - room / 2;
  return [left, bottom, Math.max(...xs) + room - left, Math.max(...heights) + room - bottom];
}

// Draws one window; returns the function that shows its frame t.
function drawn(svg, record, radius) {
  const [left, bottom, width, height] = extent(record, radius);
  svg.setAttribute("viewBox", `${left} ${-bottom - height} ${width} ${height}`);
  made(svg, "line", { x1: left, x2: left + width, y1: 0, y2: 0, class: "ground" });
  const figures = ["simulated", "imagined"].map((kind) => {
    const group = made(svg, "g", { class: kind });
    return [record[kind], radius.map((r) => made(group, "line", { "stroke-width": 2 * r }))];
  });
  return (t) => {
    for (const [frames, lines] of figures) {
      const frame = frames[Math.min(t, frames.length - 1)];
      lines.forEach((line, k) => {
        const [x1, z1, x2, z2] = frame.slice(4 * k, 4 * k + 4);
        for (const [key, value] of Object.entries({ x1, x2, y1: -z1, y2: -z2 })) line.setAttribute(key, value);
      });
    }
  };
}

function film(element, records) {
  const slider = element.querySelector("input"), button = element.querySelector("button");
  const clock = element.querySelector("output"), shows = [];
  for (const svg of element.querySelectorAll("svg")) {
    const record = records[svg.dataset.method];
    svg.style.color = svg.dataset.colour;
    shows.push(drawn(svg, record[svg.dataset.window], record.radius));
  }
  const { seconds } = Object.values(records)[0];
  slider.max = Math.max(...Object.values(records).map((record) => record.best.imagined.length)) - 1;
  let timer = null;
  function show(t) {
    slider.value = t;
    for (const each of shows) each(t);
    clock.textContent = `step ${t} of ${slider.max}, after ${Number((t * seconds).toPrecision(3))} s`;
  }
  function stop() {
    clearInterval(timer);
    timer = null;
    button.textContent = "Play";
  }
  button.addEventListener("click", () => {
    if (timer) return stop();
    button.textContent = "Pause";
    timer = setInterval(() => show((Number(slider.value) + 1) % (Number(slider.max) + 1)), 500);
  });
  slider.addEventListener("input", () => (stop(), show(Number(slider.value))));
  show(Number(slider.max));
}

let frames = null;

function build(element) {
  frames ??= JSON.parse(document.getElementById("frames").textContent);
  film(element, frames[element.dataset.dataset]);
  element.querySelector(".controls").hidden = false;
}

// Those in a folded section are built when it is unfolded.
for (const element of document.querySelectorAll(".film")) {
  const part = element.closest("details");
  if (part.open) build(element);
  else part.addEventListener("toggle", () => build(element), { once: true });
}
