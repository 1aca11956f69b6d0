// Line chart of a range query's answer on a canvas, with axes, legend and the nearest point under the pointer.
import { el, seriesName } from "./dom.js";

const COLORS = ["#c8553d", "#2f6db3", "#3c9d5d", "#a05cc0", "#d99a2b", "#2aa1a1", "#d0568f", "#7a8a2c", "#6b6ecf", "#8c6d31"];
const PAD = { left: 64, right: 12, top: 12, bottom: 26 };
const HEIGHT = 380;
const LEGEND_MAX = 200;

export function drawChart(parent, result, grid) {
  if (!result.length) {
    parent.append(el("p", { class: "soft" }, "Empty query result"));
    return;
  }
  const drawn = result.filter((series) => series.values);
  if (drawn.length < result.length) {
    const text = `${result.length - drawn.length} series of native histograms only are not drawn; try histogram_quantile() or the table.`;
    parent.append(el("p", { class: "soft" }, text));
  }
  if (!drawn.length) return;
  const lines = drawn.map((series, i) => ({
    name: seriesName(series.metric),
    color: COLORS[i % COLORS.length],
    shown: true,
    points: series.values.map(([at, value]) => [at, Number(value.replace("Inf", "Infinity"))]),
  }));
  const canvas = el("canvas", { height: HEIGHT, role: "img", "aria-label": "Graph of the query result" });
  const tip = el("div", { class: "tip", hidden: true });
  const legend = el("div", { class: "legend mono" }, lines.slice(0, LEGEND_MAX).map((line) => {
    const entry = el("div", { title: "Click hides or shows, Ctrl+click shows only this", onclick: (event) => {
      if (event.ctrlKey || event.metaKey) lines.forEach((other) => { other.shown = other === line; });
      else line.shown = !line.shown;
      entry.parentNode.childNodes.forEach((node, i) => node.classList.toggle("off", !lines[i].shown));
      paint();
    } }, el("span", { class: "swatch", style: `background:${line.color}` }), line.name);
    return entry;
  }));
  if (lines.length > LEGEND_MAX) legend.append(el("p", { class: "soft" }, `${lines.length - LEGEND_MAX} more series`));
  const box = el("div", { class: "chart" }, canvas, tip);
  parent.append(box, legend);

  let place;
  const paint = () => { place = paintLines(canvas, lines.filter((line) => line.shown), grid); };
  paint();
  new ResizeObserver(paint).observe(box);

  canvas.addEventListener("mouseleave", () => { tip.hidden = true; });
  canvas.addEventListener("mousemove", (event) => {
    const best = nearest(lines, place, event.offsetX, event.offsetY);
    tip.hidden = !best;
    if (!best) return;
    tip.replaceChildren(el("div", { class: "soft" }, new Date(best.at * 1000).toLocaleString()),
      el("div", {}, el("b", {}, String(best.value)), " ", best.line.name));
    const right = event.offsetX > canvas.clientWidth / 2;
    tip.style.left = right ? "" : `${event.offsetX + 14}px`;
    tip.style.right = right ? `${canvas.clientWidth - event.offsetX + 14}px` : "";
    tip.style.top = `${event.offsetY + 10}px`;
  });
}

function nearest(lines, place, x, y) {
  let best = null;
  for (const line of lines.filter((candidate) => candidate.shown)) {
    for (const [at, value] of line.points) {
      const distance = Math.hypot(place.x(at) - x, place.y(value) - y);
      if (distance < (best?.distance ?? 40)) best = { distance, line, at, value };
    }
  }
  return best;
}

function paintLines(canvas, lines, grid) {
  const ratio = window.devicePixelRatio || 1;
  const width = canvas.parentNode.clientWidth;
  canvas.style.height = `${HEIGHT}px`;
  canvas.width = width * ratio;
  canvas.height = HEIGHT * ratio;
  const ctx = canvas.getContext("2d");
  ctx.scale(ratio, ratio);
  const style = getComputedStyle(document.body);
  const [low, high] = extent(lines);
  const place = {
    x: (at) => PAD.left + ((at - grid.start) / (grid.end - grid.start)) * (width - PAD.left - PAD.right),
    y: (value) => HEIGHT - PAD.bottom - ((value - low) / (high - low)) * (HEIGHT - PAD.top - PAD.bottom),
  };

  ctx.font = "11px system-ui, sans-serif";
  ctx.fillStyle = style.getPropertyValue("--soft");
  ctx.strokeStyle = style.getPropertyValue("--line");
  ctx.textAlign = "right";
  for (const value of ticks(low, high, 6)) {
    ctx.beginPath();
    ctx.moveTo(PAD.left, place.y(value));
    ctx.lineTo(width - PAD.right, place.y(value));
    ctx.stroke();
    ctx.fillText(short(value), PAD.left - 6, place.y(value) + 4);
  }
  ctx.textAlign = "center";
  for (const at of timeTicks(grid, Math.max(2, Math.floor(width / 140)))) ctx.fillText(clock(at, grid), place.x(at), HEIGHT - 8);

  ctx.lineWidth = 1.5;
  ctx.lineJoin = "round";
  for (const line of lines) {
    ctx.strokeStyle = ctx.fillStyle = line.color;
    ctx.beginPath();
    let last = null;
    for (const [at, value] of line.points) {
      // A missing step is a gap, and so is a value that has no place on the axis.
      const joined = last !== null && at - last <= grid.step * 1.5;
      if (!Number.isFinite(value)) { last = null; continue; }
      if (joined) ctx.lineTo(place.x(at), place.y(value));
      else { ctx.moveTo(place.x(at), place.y(value)); ctx.fillRect(place.x(at) - 1, place.y(value) - 1, 2, 2); }
      last = at;
    }
    ctx.stroke();
  }
  return place;
}

function extent(lines) {
  let low = Infinity, high = -Infinity;
  for (const line of lines) {
    for (const [, value] of line.points) {
      if (Number.isFinite(value)) { low = Math.min(low, value); high = Math.max(high, value); }
    }
  }
  if (low > high) return [0, 1];
  const margin = (high - low) * 0.05 || Math.abs(high) * 0.1 || 1;
  return [low >= 0 && low - margin < 0 ? 0 : low - margin, high + margin];
}

function ticks(low, high, count) {
  const raw = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= raw);
  const first = Math.ceil(low / step);
  return Array.from({ length: Math.floor(high / step) - first + 1 }, (_, i) => Number(((first + i) * step).toPrecision(12)));
}

const NICE = [1, 5, 10, 30, 60, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400, 172800, 604800, 2592000, 31536000];

function timeTicks(grid, count) {
  const raw = (grid.end - grid.start) / count;
  const step = NICE.find((candidate) => candidate >= raw) ?? raw;
  const shift = new Date(grid.start * 1000).getTimezoneOffset() * 60;
  const first = Math.ceil((grid.start - shift) / step) * step + shift;
  return Array.from({ length: Math.max(0, Math.floor((grid.end - first) / step) + 1) }, (_, i) => first + i * step);
}

function clock(at, grid) {
  const date = new Date(at * 1000);
  const two = (number) => String(number).padStart(2, "0");
  const time = `${two(date.getHours())}:${two(date.getMinutes())}`;
  const width = grid.end - grid.start;
  if (width < 600) return `${time}:${two(date.getSeconds())}`;
  return width > 86400 ? `${two(date.getMonth() + 1)}-${two(date.getDate())} ${time}` : time;
}

function short(value) {
  const size = Math.abs(value);
  for (const [limit, unit] of [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]]) {
    if (size >= limit) return `${Number((value / limit).toPrecision(4))}${unit}`;
  }
  return size && size < 1e-3 ? value.toExponential(1) : String(Number(value.toPrecision(4)));
}
