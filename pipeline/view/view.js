"use strict";
// A map in Web Mercator: the world is the square from 0 to 1; a tile of zoom z is 256 px where 2^z of them fill it.
const map = document.getElementById("map");
const take = document.getElementById("take");
const bands = document.getElementById("bands");
const value = document.getElementById("value");
const SIDE = 256, MOST = 18;
const at = { x: 0.5, y: 0.5, zoom: 2 };
const tiles = new Map();
let layers, ranges = new Map(), shown = 0;

const toX = (lon) => lon / 360 + 0.5;
const toY = (lat) => 0.5 - Math.asinh(Math.tan((lat * Math.PI) / 180)) / (2 * Math.PI);
const toLon = (x) => (x - 0.5) * 360;
const toLat = (y) => (Math.atan(Math.sinh((0.5 - y) * 2 * Math.PI)) * 180) / Math.PI;
const world = () => SIDE * 2 ** at.zoom;

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
  return found;
}

function query(id) {
  const names = layers.bands[bands.value].map((name) => `&band=${name}`).join("");
  return `acquisition=${encodeURIComponent(id)}${names}`;
}

function draw() {
  if (!layers) return;
  const size = world(), keep = new Set();
  for (const { z, x, y, column, query } of wanted()) {
    const url = `cube/tiles/WebMercatorQuad/${z}/${column}/${y}.png?${query}`;
    keep.add(url);
    if (!tiles.has(url)) {
      const image = new Image();
      image.alt = "";
      image.onload = () => { image.dataset.state = "loaded"; sweep(); };
      image.onerror = () => { image.dataset.state = "empty"; image.hidden = true; sweep(); };
      image.src = url;
      tiles.set(url, { image, z, x, y, shown });
      map.append(image);
    }
  }
  for (const [url, tile] of tiles) {
    tile.old = !keep.has(url);
    // Edges on whole pixels, the same for neighbours: else lines show between them.
    const left = (x) => Math.round(map.clientWidth / 2 + (x / 2 ** tile.z - at.x) * size);
    const top = (y) => Math.round(map.clientHeight / 2 + (y / 2 ** tile.z - at.y) * size);
    tile.image.style.transform = `translate(${left(tile.x)}px, ${top(tile.y)}px)`;
    tile.image.style.width = `${left(tile.x + 1) - left(tile.x)}px`;
    tile.image.style.height = `${top(tile.y + 1) - top(tile.y)}px`;
    tile.image.style.zIndex = tile.old ? -1 : 0;
  }
  sweep();
  rule(size);
}

// Tiles of the last view stay until those of this one are there.
function sweep() {
  const waits = [...tiles.values()].some((tile) => !tile.old && !tile.image.dataset.state);
  for (const [url, tile] of tiles)
    if (tile.old && (!waits || tile.shown !== shown)) { tile.image.remove(); tiles.delete(url); }
  map.dataset.state = waits ? "waiting" : "ready";
}

function rule(size) {
  const metres = (40075016.7 * Math.cos((toLat(at.y) * Math.PI) / 180)) / size;
  const power = 10 ** Math.floor(Math.log10(metres * 120));
  const length = [5, 2, 1].map((n) => n * power).find((n) => n <= metres * 120);
  const scale = document.getElementById("scale");
  scale.textContent = length < 1000 ? `${length} m` : `${length / 1000} km`;
  scale.style.width = `${length / metres}px`;
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
  value.textContent = "…";
  await Promise.all(layers.takes[take.value].acquisitions.map(async ({ id }) => {
    const answer = await fetch(`stretch.json?${query(id)}`);
    if (answer.ok) found.set(id, (await answer.json()).map((pair) => `&rescale=${pair.join(",")}`).join(""));
  }));
  if (mine !== shown) return;
  ranges = found;
  value.textContent = found.size ? "" : "The cube does not show this yet.";
  draw();
}

async function read(event) {
  const size = world(), box = map.getBoundingClientRect();
  const lon = toLon(at.x + (event.clientX - box.left - box.width / 2) / size);
  const lat = toLat(at.y + (event.clientY - box.top - box.height / 2) / size);
  const inside = layers.takes[take.value].acquisitions.find(
    ({ bounds: [west, south, east, north] }) => west <= lon && lon <= east && south <= lat && lat <= north);
  let text = `${lat.toFixed(5)}°, ${lon.toFixed(5)}°`;
  if (inside) {
    const answer = await fetch(`cube/point/${lon > 180 ? lon - 360 : lon},${lat}?${query(inside.id)}`);
    const values = answer.ok ? (await answer.json()).values : [];
    layers.bands[bands.value].forEach((name, i) => { if (values[i] != null) text += `  ${name} ${values[i].toFixed(4)}`; });
  }
  value.textContent = text;
}

const fingers = new Map();
let moved = 0;
map.addEventListener("pointerdown", (event) => {
  map.setPointerCapture(event.pointerId);
  fingers.set(event.pointerId, event);
  if (fingers.size === 1) moved = 0;
});
map.addEventListener("pointermove", (event) => {
  const before = fingers.get(event.pointerId);
  if (!before || !layers) return;
  const other = [...fingers.values()].find((one) => one.pointerId !== event.pointerId);
  const dx = event.clientX - before.clientX, dy = event.clientY - before.clientY;
  moved += Math.abs(dx) + Math.abs(dy);
  fingers.set(event.pointerId, event);
  const share = other ? 2 : 1;
  at.x -= dx / share / world();
  at.y -= dy / share / world();
  if (other) {
    const far = (one) => Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY) || 1;
    zoomTo(at.zoom + Math.log2(far(event) / far(before)), (event.clientX + other.clientX) / 2, (event.clientY + other.clientY) / 2);
  } else draw();
});
for (const end of ["pointerup", "pointercancel"])
  map.addEventListener(end, (event) => {
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
window.addEventListener("resize", draw);
take.addEventListener("change", choose);
bands.addEventListener("change", choose);

fetch("layers.json").then((answer) => answer.json()).then((found) => {
  layers = found;
  layers.takes.forEach((one, i) => take.add(new Option(one.label, i)));
  Object.keys(layers.bands).forEach((name) => bands.add(new Option(name, name)));
  fit();
  choose();
});
