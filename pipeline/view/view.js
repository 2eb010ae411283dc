"use strict";
// A map in Web Mercator: the world is the square from 0 to 1; a tile of zoom z is 256 px where 2^z of them fill it.
const map = document.getElementById("map");
const take = document.getElementById("take");
const bands = document.getElementById("bands");
const value = document.getElementById("value");
const panes = { false: document.getElementById("sharpened"), true: document.getElementById("delivered") };
const share = document.getElementById("share"), swipe = document.getElementById("swipe"), closer = document.getElementById("closer");
const SIDE = 256, MOST = 18;
// Metres along a map pixel up to which native and sharpened pixels look different; the server has the same limit.
const ALIKE = 30;
// Number of concurrent requests for native tiles: an archive is slow, and the cube's tiles must not wait for it.
const FEW = 2;
const at = { x: 0.5, y: 0.5, zoom: 2 };
const tiles = new Map();
let layers, ranges = new Map(), shown = 0, refused = "", queue = [], asking = 0;

const toX = (lon) => lon / 360 + 0.5;
const toY = (lat) => 0.5 - Math.asinh(Math.tan((lat * Math.PI) / 180)) / (2 * Math.PI);
const toLon = (x) => (x - 0.5) * 360;
const toLat = (y) => (Math.atan(Math.sinh((0.5 - y) * 2 * Math.PI)) * 180) / Math.PI;
const world = () => SIDE * 2 ** at.zoom;
const metres = (zoom) => (40075016.7 * Math.cos((toLat(at.y) * Math.PI) / 180)) / (SIDE * 2 ** zoom);
const coarse = () => layers.delivered && layers.bands[bands.value].some((name) => layers.gsd[name] > 10);
const near = () => metres(Math.round(at.zoom)) <= ALIKE;
const comparing = () => coarse() && near() && !refused;

function wanted() {
  const z = Math.max(0, Math.min(MOST, Math.round(at.zoom))), n = 2 ** z, size = world();
  const halfX = map.clientWidth / 2 / size, halfY = map.clientHeight / 2 / size, found = [];
  for (const { id, bounds: [west, south, east, north] } of layers.takes[take.value].acquisitions) {
    const range = ranges.get(id);
    if (!range) continue;
    const first = [Math.max(toX(west), at.x - halfX), Math.max(toY(north), at.y - halfY)].map((v) => Math.floor(v * n));
    const last = [Math.min(toX(east), at.x + halfX), Math.min(toY(south), at.y + halfY)].map((v) => Math.floor(v * n));
    for (let y = first[1]; y <= last[1]; y++)
      for (let x = first[0]; x <= last[0]; x++) found.push({ z, x, y, column: x % n, query: query(id) + range });
  }
  // Tiles in the middle are loaded first.
  const far = ({ x, y }) => Math.hypot((x + 0.5) / n - at.x, (y + 0.5) / n - at.y);
  found.sort((a, b) => far(a) - far(b));
  return found;
}

function query(id) {
  const names = layers.bands[bands.value].map((name) => `&band=${name}`).join("");
  return `acquisition=${encodeURIComponent(id)}${names}`;
}

function draw() {
  if (!layers) return;
  const size = world(), keep = new Set();
  compare();
  for (const { z, x, y, column, query } of wanted())
    for (const native of comparing() ? [false, true] : [false]) {
      const url = `cube/tiles/WebMercatorQuad/${z}/${column}/${y}.png?${query}${native ? "&delivered=true" : ""}`;
      keep.add(url);
      if (!tiles.has(url)) tiles.set(url, load(url, native, { z, x, y, shown }));
    }
  for (const [url, tile] of tiles) {
    tile.old = !keep.has(url);
    // Edges lie on whole pixels, the same for neighbours, because lines would show between them otherwise.
    const left = (x) => Math.round(map.clientWidth / 2 + (x / 2 ** tile.z - at.x) * size);
    const top = (y) => Math.round(map.clientHeight / 2 + (y / 2 ** tile.z - at.y) * size);
    tile.image.style.transform = `translate(${left(tile.x)}px, ${top(tile.y)}px)`;
    tile.image.style.width = `${left(tile.x + 1) - left(tile.x)}px`;
    tile.image.style.height = `${top(tile.y + 1) - top(tile.y)}px`;
    tile.image.style.zIndex = tile.old ? -1 : 0;
  }
  next();
  sweep();
  rule();
  place();
}

function load(url, native, tile) {
  const image = new Image();
  image.alt = "";
  const end = (state) => () => {
    image.dataset.state = state;
    image.hidden = state === "empty";
    if (native) { asking--; if (image.hidden) explain(url, tile); }
    sweep();
    next();
  };
  image.onload = end("loaded");
  image.onerror = end("empty");
  if (native) queue.push(url); else image.src = url;
  panes[native].append(image);
  return { image, ...tile };
}

function next() {
  while (asking < FEW && queue.length) {
    const url = queue.shift(), tile = tiles.get(url);
    if (!tile) continue;
    if (tile.old) { tile.image.remove(); tiles.delete(url); continue; }
    asking++;
    tile.image.src = url;
  }
}

// A tile without pixels has no body; an unreadable tile gives the reason.
async function explain(url, tile) {
  const answer = await fetch(url);
  if (answer.ok || tile.shown !== shown || refused) return;
  refused = (await answer.json()).detail;
  value.textContent = `As delivered: ${refused}`;
  draw();
}

// Content of the bar between delivered and sharpened, or the reason why there is none.
function compare() {
  const on = comparing(), part = on ? `${share.value}%` : "0%";
  swipe.hidden = !on;
  swipe.style.setProperty("--share", part);
  panes.true.style.setProperty("--share", part);
  const text = !layers.delivered || refused ? "" : !coarse() ? "Delivered at 10 m: nothing to compare" : near() ? "" : "Zoom in to compare with the delivered bands";
  closer.hidden = !text;
  closer.disabled = !coarse();
  closer.textContent = text;
}

// Tiles of the last view stay until those of this one are loaded.
function sweep() {
  const waits = [...tiles.values()].some((tile) => !tile.old && !tile.image.dataset.state);
  for (const [url, tile] of tiles)
    if (tile.old && (!waits || tile.shown !== shown)) { tile.image.remove(); tiles.delete(url); }
  map.dataset.state = waits ? "waiting" : "ready";
}

function rule() {
  const pixel = metres(at.zoom);
  const power = 10 ** Math.floor(Math.log10(pixel * 120));
  const length = [5, 2, 1].map((n) => n * power).find((n) => n <= pixel * 120);
  const scale = document.getElementById("scale");
  scale.textContent = length < 1000 ? `${length} m` : `${length / 1000} km`;
  scale.style.width = `${length / pixel}px`;
}

function zoomTo(zoom, px, py) {
  const before = world();
  const x = at.x + (px - map.clientWidth / 2) / before, y = at.y + (py - map.clientHeight / 2) / before;
  at.zoom = Math.max(1, Math.min(MOST + 2, zoom));
  const after = world();
  at.x = x - (px - map.clientWidth / 2) / after;
  at.y = y - (py - map.clientHeight / 2) / after;
  draw();
}

function fit() {
  const all = layers.takes[take.value].acquisitions.map((one) => one.bounds);
  const west = Math.min(...all.map((b) => b[0])), east = Math.max(...all.map((b) => b[2]));
  const south = Math.min(...all.map((b) => b[1])), north = Math.max(...all.map((b) => b[3]));
  at.x = (toX(west) + toX(east)) / 2;
  at.y = (toY(south) + toY(north)) / 2;
  const wide = map.clientWidth / (toX(east) - toX(west)), high = map.clientHeight / (toY(south) - toY(north));
  at.zoom = Math.min(MOST, Math.log2(Math.min(wide, high) / SIDE));
}

async function choose() {
  const mine = ++shown, found = new Map();
  refused = "";
  value.textContent = "Loading …";
  map.dataset.state = "waiting";
  await Promise.all(layers.takes[take.value].acquisitions.map(async ({ id }) => {
    const answer = await fetch(`stretch.json?${query(id)}`);
    if (answer.ok) found.set(id, await answer.json());
  }));
  if (mine !== shown) return;
  ranges = new Map([...found].map(([id, pairs]) => [id, pairs.map((pair) => `&stretch=${pair.join(",")}`).join("")]));
  legend([...found.values()][0] || []);
  value.textContent = found.size ? "" : "The cube does not show this yet.";
  draw();
}

function make(parent, name, text = "", attributes = {}) {
  const child = parent.namespaceURI.endsWith("svg") ? document.createElementNS(parent.namespaceURI, name) : document.createElement(name);
  for (const [key, content] of Object.entries(attributes)) child.setAttribute(key, content);
  child.textContent = text;
  parent.append(child);
  return child;
}

// Each band's colour, and the reflectances at the ends of its stretch.
function legend(pairs) {
  const box = document.getElementById("legend"), names = layers.bands[bands.value];
  box.replaceChildren();
  pairs.forEach((pair, i) => {
    make(box, "span", names[i]);
    make(box, "span", pair[0].toFixed(3));
    make(box, "i", "", { class: names.length > 1 ? ["red", "green", "blue"][i] : "grey" });
    make(box, "span", pair[1].toFixed(3));
  });
}

let marked, asked = 0;
function place() {
  const mark = document.getElementById("mark") || make(map, "span", "", { id: "mark" });
  mark.hidden = !marked;
  if (!marked) return;
  mark.style.left = `${map.clientWidth / 2 + (toX(marked[0]) - at.x) * world()}px`;
  mark.style.top = `${map.clientHeight / 2 + (toY(marked[1]) - at.y) * world()}px`;
}

async function read(event) {
  const size = world(), box = map.getBoundingClientRect(), mine = ++asked;
  const lon = toLon(at.x + (event.clientX - box.left - box.width / 2) / size);
  const lat = toLat(at.y + (event.clientY - box.top - box.height / 2) / size);
  const inside = layers.takes[take.value].acquisitions.find(
    ({ bounds: [west, south, east, north] }) => west <= lon && lon <= east && south <= lat && lat <= north);
  marked = [lon, lat];
  place();
  const where = `${lat.toFixed(5)}°, ${lon.toFixed(5)}°`;
  value.textContent = inside ? `${where}  …` : where;
  if (!inside) return;
  const answer = await fetch(`spectrum.json?acquisition=${encodeURIComponent(inside.id)}&lon=${lon > 180 ? lon - 360 : lon}&lat=${lat}`);
  const found = answer.status === 200 ? await answer.json() : { bands: [] };
  if (mine !== asked) return;
  const values = new Map(found.bands.map((band) => [band.name, band.sharpened]));
  value.textContent = where + layers.bands[bands.value].map((name) => values.get(name) == null ? "" : `  ${name} ${values.get(name).toFixed(4)}`).join("");
  spectrum(where, found);
}

function spectrum(where, { bands: found, why, hidden }) {
  const panel = document.getElementById("spectrum"), svg = panel.querySelector("svg"), table = panel.querySelector("table");
  panel.hidden = !found.some((band) => band.sharpened != null || band.delivered != null);
  panel.querySelector("h2").textContent = where;
  panel.querySelector("p").textContent = [hidden ? "Under a cloud or its shadow." : "", why ? `As delivered: ${why}` : ""].filter(Boolean).join(" ");
  svg.replaceChildren();
  table.replaceChildren();
  const most = Math.max(0.1, ...found.flatMap((band) => [(band.sharpened ?? 0) + (band.error90 ?? 0), band.delivered ?? 0]));
  const x = (nm) => 28 + ((nm - 400) / 1900) * 284, y = (r) => 112 - (Math.max(0, r) / most) * 104;
  for (const r of [0, most / 2, most]) {
    make(svg, "line", "", { class: "grid", x1: 28, x2: 314, y1: y(r), y2: y(r) });
    make(svg, "text", r.toFixed(2), { x: 2, y: y(r) + 3 });
  }
  for (const nm of [500, 1000, 1500, 2000]) make(svg, "text", nm === 2000 ? "2000 nm" : nm, { x: x(nm), y: 126, "text-anchor": "middle" });
  const known = found.filter((band) => band.sharpened != null);
  make(svg, "polyline", "", { class: "after", points: known.map((band) => `${x(band.wavelength)},${y(band.sharpened)}`).join(" ") });
  for (const band of found) {
    const at = x(band.wavelength), title = `${band.name}, ${band.gsd} m`;
    if (band.error90 != null && band.sharpened != null) make(svg, "line", "", { class: "doubt", x1: at, x2: at, y1: y(band.sharpened - band.error90), y2: y(band.sharpened + band.error90) });
    if (band.sharpened != null) make(make(svg, "circle", "", { class: "dot", cx: at, cy: y(band.sharpened), r: 2.6 }), "title", title);
    if (band.delivered != null) make(make(svg, "circle", "", { class: "before", cx: at, cy: y(band.delivered), r: 4 }), "title", title);
  }
  const doubted = found.some((band) => band.error90 != null);
  const row = (cells, kind) => { const line = make(table, "tr"); cells.forEach(([text, name]) => make(line, kind, text, name ? { class: name } : {})); };
  const compared = layers.delivered ? (cell) => [cell] : () => [];
  row([["band"], ["nm"], ...compared(["delivered"]), ["sharpened"], ...(doubted ? [["± (90 %)"]] : [])], "th");
  for (const band of found) {
    const number = (r) => (r == null ? "–" : r.toFixed(4));
    row([[`${band.name} · ${band.gsd} m`], [Math.round(band.wavelength)], ...compared([number(band.delivered), "before"]), [number(band.sharpened), "after"], ...(doubted ? [[number(band.error90)]] : [])], "td");
  }
}

const fingers = new Map();
let moved = 0, sliding;
// Distance in pixels from the line between delivered and sharpened within which a mouse or a finger grabs the line.
const GRIP = { mouse: 6, pen: 12, touch: 22 };
const onLine = ({ clientX, pointerType }) =>
  !swipe.hidden && Math.abs(clientX - (share.value / 100) * window.innerWidth) < (GRIP[pointerType] || GRIP.touch);
map.addEventListener("pointerdown", (event) => {
  map.setPointerCapture(event.pointerId);
  if (!fingers.size) moved = 0;
  if (layers && !fingers.size && onLine(event)) { sliding = event.pointerId; return; }
  fingers.set(event.pointerId, event);
});
map.addEventListener("pointermove", (event) => {
  map.style.cursor = layers && (sliding === event.pointerId || onLine(event)) ? "ew-resize" : "";
  if (sliding === event.pointerId) {
    moved += Math.abs(event.movementX) + Math.abs(event.movementY);
    share.value = (event.clientX / window.innerWidth) * 100;
    compare();
    return;
  }
  const before = fingers.get(event.pointerId);
  if (!before || !layers) return;
  const other = [...fingers.values()].find((one) => one.pointerId !== event.pointerId);
  const dx = event.clientX - before.clientX, dy = event.clientY - before.clientY;
  moved += Math.abs(dx) + Math.abs(dy);
  fingers.set(event.pointerId, event);
  const hands = other ? 2 : 1;
  at.x -= dx / hands / world();
  at.y -= dy / hands / world();
  if (other) {
    const far = (one) => Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY) || 1;
    zoomTo(at.zoom + Math.log2(far(event) / far(before)), (event.clientX + other.clientX) / 2, (event.clientY + other.clientY) / 2);
  } else draw();
});
for (const end of ["pointerup", "pointercancel"])
  map.addEventListener(end, (event) => {
    if (sliding === event.pointerId) sliding = undefined;
    fingers.delete(event.pointerId);
    if (end === "pointerup" && moved < 5 && layers) read(event);
  });
map.addEventListener("wheel", (event) => {
  event.preventDefault();
  zoomTo(at.zoom - event.deltaY / 400, event.clientX, event.clientY);
}, { passive: false });
map.addEventListener("dblclick", (event) => zoomTo(at.zoom + 1, event.clientX, event.clientY));
map.addEventListener("keydown", (event) => {
  const step = 80 / world();
  const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
  if (moves[event.key]) { at.x += moves[event.key][0]; at.y += moves[event.key][1]; draw(); }
  else if (event.key === "+" || event.key === "-") zoomTo(at.zoom + (event.key === "+" ? 1 : -1), map.clientWidth / 2, map.clientHeight / 2);
  else return;
  event.preventDefault();
});
document.querySelectorAll("#zoom button").forEach((button, i) =>
  button.addEventListener("click", () => zoomTo(at.zoom + (i ? -1 : 1), map.clientWidth / 2, map.clientHeight / 2)));
document.querySelector("#spectrum > button").addEventListener("click", () => { document.getElementById("spectrum").hidden = true; marked = undefined; place(); });
share.addEventListener("input", compare);
closer.addEventListener("click", () => zoomTo(14, map.clientWidth / 2, map.clientHeight / 2));
window.addEventListener("resize", draw);
take.addEventListener("change", choose);
bands.addEventListener("change", choose);

fetch("layers.json").then(async (answer) => {
  if (!answer.ok) throw new Error((await answer.json()).detail);
  return answer.json();
}).then((found) => {
  layers = found;
  layers.takes.forEach((one, i) => take.add(new Option(one.label, i)));
  Object.keys(layers.bands).forEach((name) => bands.add(new Option(name, name)));
  fit();
  choose();
}).catch((error) => { map.dataset.state = "failed"; value.textContent = String(error.message || error); });
