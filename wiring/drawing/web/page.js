"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const svg = document.getElementById("circuit"), aside = document.getElementById("partners");
const count = data.names.length, RADIUS = 0.3;
document.querySelector("h1").textContent = document.title;

function make(name, attributes, parent, space = "http://www.w3.org/2000/svg") {
  const element = document.createElementNS(space, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  parent.append(element);
  return element;
}
const html = (name, attributes, parent) => make(name, attributes, parent, "http://www.w3.org/1999/xhtml");

// Ways: chemical ones swing out to the left, so that both of a pair are seen; resistors run straight.
function curve(j, i) {
  const [x, y, u, v] = [data.x[j], data.y[j], data.x[i], data.y[i]];
  if (j === i) return `M${x - 0.15} ${y - 0.25}C${x - 0.8} ${y - 1.2} ${x + 0.8} ${y - 1.2} ${x + 0.15} ${y - 0.25}`;
  const length = Math.hypot(u - x, v - y) || 1, bend = Math.min(0.1 * length, 0.7) / length;
  const cx = (x + u) / 2 + bend * (v - y), cy = (y + v) / 2 - bend * (u - x);
  const last = Math.hypot(u - cx, v - cy) || 1, tip = RADIUS + 0.06;
  const [a, b] = [(u - cx) / last, (v - cy) / last], [tx, ty] = [u - tip * a, v - tip * b];
  return { way: `M${x} ${y}Q${cx} ${cy} ${tx} ${ty}`, tx, ty, a, b };
}
function chemical(j, i, sign) {
  const bow = curve(j, i);
  if (typeof bow === "string") return bow;
  const { way, tx, ty, a, b } = bow, h = 0.12, back = 0.24;
  return sign > 0
    ? `${way}M${tx - back * a - h * b} ${ty - back * b + h * a}L${tx} ${ty}L${tx - back * a + h * b} ${ty - back * b - h * a}`
    : `${way}M${tx - h * b} ${ty + h * a}L${tx + h * b} ${ty - h * a}`;
}
function resistor(j, i, oneWay) {
  const [x, y, u, v] = [data.x[j], data.y[j], data.x[i], data.y[i]];
  const length = Math.hypot(u - x, v - y) || 1, [a, b] = [(u - x) / length, (v - y) / length];
  const half = Math.min(0.55, 0.3 * length), teeth = 12;
  let way = `M${x} ${y}`;
  for (let k = 0; k <= teeth; k += 1) {
    const along = length / 2 - half + 2 * half * k / teeth, out = 0.16 * Math.sin(k * Math.PI / 2);
    way += `L${x + along * a - out * b} ${y + along * b + out * a}`;
  }
  const stop = length - RADIUS - 0.06, [tx, ty] = [x + stop * a, y + stop * b];
  way += `L${tx} ${ty}`;
  if (oneWay) way += `M${tx} ${ty}l${-0.26 * a - 0.13 * b} ${-0.26 * b + 0.13 * a}l${0.26 * b} ${-0.26 * a}z`;
  return way;
}

const edges = [];
const touching = Array.from({ length: count }, () => []);
const lines = make("g", {}, svg), discs = make("g", {}, svg);
function add(j, i, kind, path, weight) {
  const element = make("path", { class: `edge ${kind}`, d: path }, lines);
  const edge = { j, i, kind, weight, element };
  edges.push(edge);
  touching[j].push(edge);
  if (i !== j) touching[i].push(edge);
}
data.source.forEach((j, k) => {
  const i = data.target[k], sign = data.polarity[k];
  add(j, i, sign > 0 ? "excitatory" : "inhibitory", chemical(j, i, sign), data.weight[k]);
});
data.ends.forEach(([j, i], k) =>
  add(j, i, "electrical", resistor(j, i, data.rectifying[k]), data.junctionWeight[k]));
edges.filter((edge) => edge.kind === "electrical").forEach((edge, k) => { edge.oneWay = data.rectifying[k]; });

const neurons = data.names.map((name, k) => {
  const group = make("g", { class: "neuron", tabindex: 0, role: "button", "aria-label": name }, discs);
  make("circle", { cx: data.x[k], cy: data.y[k], r: RADIUS, fill: data.layerColors[data.layers[k]] }, group);
  if (data.channels && data.channels[k].length) {
    make("circle", { class: "ring", cx: data.x[k], cy: data.y[k], r: 1.25 * RADIUS }, group);
  }
  make("text", { x: data.x[k], y: data.y[k] + RADIUS, dy: "1em" }, group).textContent = name;
  group.addEventListener("pointerenter", () => { if (held < 0) light(k); });
  group.addEventListener("pointerleave", () => { if (held < 0) light(-1); });
  group.addEventListener("focus", () => { if (held < 0) light(k); });
  group.addEventListener("blur", () => { if (held < 0) light(-1); });
  group.addEventListener("click", (event) => { event.stopPropagation(); hold(held === k ? -1 : k); });
  group.addEventListener("keydown", (event) => {
    if (event.key === "Enter" || event.key === " ") { event.preventDefault(); hold(held === k ? -1 : k); }
  });
  return group;
});
const margin = 1.3, xs = data.x, ys = data.y;
const [left, right] = [Math.min(...xs) - margin, Math.max(...xs) + margin];
const [top_, bottom] = [Math.min(...ys) - margin, Math.max(...ys) + margin];
svg.setAttribute("viewBox", `${left} ${top_} ${right - left} ${bottom - top_}`);
svg.style.maxWidth = `${60 * (right - left)}px`; // small circuits need no more
svg.style.setProperty("--calm", Math.max(0.06, Math.min(0.75, 14 / Math.sqrt(edges.length || 1) / 3)));

// Names are hidden until a neuron is lit where they would be too small to read.
function crowd() {
  const scale = Math.min(svg.clientWidth / (right - left), svg.clientHeight / (bottom - top_) || Infinity);
  svg.classList.toggle("crowded", 0.36 * scale < 6);
  svg.style.setProperty("--name", `${Math.max(0.36, 9 / scale)}px`);
}
// Of the lit names those are shown that do not cover one before them, the chosen one first.
function spread(lit) {
  const size = parseFloat(svg.style.getPropertyValue("--name")), taken = [];
  for (const k of lit) {
    const wide = 0.32 * size * data.names[k].length + 0.1 * size;
    const box = [data.x[k] - wide, data.y[k], data.x[k] + wide, data.y[k] + size];
    const covers = taken.some((other) => box[0] < other[2] && other[0] < box[2] && box[1] < other[3] && other[1] < box[3]);
    neurons[k].classList.toggle("named", !covers);
    if (!covers) taken.push(box);
  }
}

let held = -1;
const ROLES = { in: "chemical in", out: "chemical out", electrical: "electrical" };
const marks = { in: "in", out: "out", electrical: "joined" };
function partnersOf(k) {
  const found = { in: [], out: [], electrical: [] };
  for (const edge of touching[k]) {
    if (edge.kind === "electrical") found.electrical.push([edge.j === k ? edge.i : edge.j, edge]);
    else {
      if (edge.i === k) found.in.push([edge.j, edge]);
      if (edge.j === k) found.out.push([edge.i, edge]);
    }
  }
  return found;
}
function light(k) {
  for (const edge of edges) edge.element.classList.remove("on", "in", "out", "joined");
  for (const group of neurons) group.classList.remove("on", "in", "out", "joined", "chosen", "named");
  svg.classList.toggle("lit", k >= 0);
  aside.replaceChildren();
  if (k < 0) {
    html("p", {}, aside).textContent = "Point at a neuron to light up its partners; click to hold it, Escape to let it go.";
    return;
  }
  const found = partnersOf(k);
  for (const [role, partners] of Object.entries(found)) {
    for (const [other, edge] of partners) {
      edge.element.classList.add("on", marks[role]);
      neurons[other].classList.add("on", marks[role]);
    }
  }
  neurons[k].classList.add("on", "chosen");
  const strongest = Object.values(found).flat().sort((one, other) => (other[1].weight || 0) - (one[1].weight || 0));
  spread(new Set([k, ...strongest.map(([other]) => other)]));
  html("h2", {}, aside).textContent = data.names[k];
  const channels = (data.channels || [])[k] || [];
  html("p", {}, aside).textContent =
    data.layers[k] + (channels.length ? `, read as output ${channels.join(", ")}` : "");
  for (const [role, partners] of Object.entries(found)) {
    html("h3", { class: role }, aside).textContent = `${ROLES[role]}: ${partners.length}`;
    const table = html("table", {}, aside);
    partners.sort((one, other) => (other[1].weight || 0) - (one[1].weight || 0));
    for (const [other, edge] of partners) {
      const row = html("tr", {}, table), button = html("button", {}, html("td", {}, row));
      button.textContent = data.names[other];
      button.addEventListener("click", () => hold(other));
      const kind = edge.kind !== "electrical" ? (edge.kind === "excitatory" ? "+" : "\u2212")
        : !edge.oneWay ? "" : edge.j === k ? "out only" : "in only";
      html("td", {}, row).textContent = edge.weight === null ? kind : `${kind} ${edge.weight}`;
    }
  }
  if (edges.some((edge) => edge.weight !== null)) html("p", {}, aside).textContent = `numbers: ${data.quantity}`;
}
function hold(k) {
  held = k;
  light(k);
}
document.addEventListener("keydown", (event) => { if (event.key === "Escape") hold(-1); });
svg.addEventListener("click", () => hold(-1));
const find = document.getElementById("find");
data.names.forEach((name) => html("option", { value: name }, document.getElementById("names")));
find.addEventListener("input", () => {
  const text = find.value.trim().toLowerCase();
  const k = data.names.findIndex((name) => name.toLowerCase() === text);
  if (k >= 0) hold(k);
});

const legend = document.getElementById("legend");
function explain(text, paint) {
  const entry = html("span", {}, legend), icon = make("svg", { viewBox: "0 0 24 9" }, entry);
  paint(icon);
  entry.append(text);
}
const way = { excitatory: "M0 4.5H23M18 1L23 4.5L18 8", inhibitory: "M0 4.5H23M23 0.5V8.5",
  electrical: "M0 4.5H5L6 1.5L8 7.5L10 1.5L12 7.5L14 1.5L16 7.5L18 4.5H24" };
for (const [kind, d] of Object.entries(way)) {
  const number = edges.filter((edge) => edge.kind === kind).length;
  if (kind === "electrical" && !number) continue;
  explain(`${kind} (${number.toLocaleString("en")})`,
    (icon) => make("path", { d, fill: "none", stroke: data.colors[kind], "stroke-width": 1.5 }, icon));
}
for (const [layer, color] of Object.entries(data.layerColors)) {
  explain(layer, (icon) => make("circle", { cx: 18, cy: 4.5, r: 4.5, fill: color }, icon));
}
if (data.channels) {
  const number = data.channels.filter((channels) => channels.length).length;
  explain(`read as output (${number.toLocaleString("en")})`,
    (icon) => make("circle", { cx: 18, cy: 4.5, r: 3.8, fill: "none", stroke: "currentColor" }, icon));
}
light(-1);
crowd();
window.addEventListener("resize", crowd);
const asked = data.names.indexOf(decodeURIComponent(location.hash.slice(1)));
if (asked >= 0) hold(asked);
document.body.dataset.ready = "true";
