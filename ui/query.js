// The query page: expression, table, graph. Its whole state is in the URL, so a link shows the same to somebody else.
import { api, el, note, seconds, seriesName } from "./dom.js";
import { drawChart } from "./chart.js";

const DEFAULTS = { expr: "", tab: "table", range: "1h", end: "", time: "", step: "" };
const POINTS = 250;
const ROWS_MAX = 1000;

function readUrl() {
  const url = new URLSearchParams(location.search);
  const state = { ...DEFAULTS };
  for (const key of Object.keys(state)) state[key] = url.get(key) ?? state[key];
  // Links made for Prometheus' own page work too.
  state.expr = url.get("g0.expr") ?? state.expr;
  state.range = url.get("g0.range_input") ?? state.range;
  state.end = url.get("g0.end_input") ?? state.end;
  if (url.has("g0.tab")) state.tab = ["0", "graph"].includes(url.get("g0.tab")) ? "graph" : "table";
  return state;
}

function writeUrl(state) {
  const kept = Object.entries(state).filter(([key, value]) => value !== DEFAULTS[key]);
  const text = new URLSearchParams(kept).toString();
  history.replaceState(null, "", location.pathname + (text ? `?${text}` : ""));
}

export function queryPage(page) {
  const state = readUrl();
  let running = null;

  const expr = el("textarea", { rows: 2, placeholder: "Expression (Enter runs it, Shift+Enter makes a new line)", spellcheck: "false", "aria-label": "Expression" });
  expr.value = state.expr;
  const input = (key, attributes) => {
    const field = el("input", { ...attributes, onchange: () => { state[key] = field.value.trim(); run(); } });
    field.value = state[key];
    return field;
  };
  const range = input("range", { size: 6, "aria-label": "Range", title: "Range, such as 1h or 2d" });
  const end = input("end", { size: 20, placeholder: "end: now", "aria-label": "End time", title: "2026-01-31T12:00:00Z or Unix seconds" });
  const step = input("step", { size: 6, placeholder: "step: auto", "aria-label": "Resolution" });
  const time = input("time", { size: 20, placeholder: "time: now", "aria-label": "Evaluation time", title: "2026-01-31T12:00:00Z or Unix seconds" });
  const names = el("datalist", { id: "metric-names" });
  const insert = el("input", { list: "metric-names", placeholder: "insert metric…", size: 24, "aria-label": "Insert metric", onchange: () => {
    expr.setRangeText(insert.value, expr.selectionStart, expr.selectionEnd, "end");
    insert.value = "";
    expr.focus();
  } });
  const go = el("button", { class: "main", onclick: () => run() }, "Execute");
  const tabs = ["table", "graph"].map((name) => el("button", { class: "tab", onclick: () => { state.tab = name; run(); } }, name[0].toUpperCase() + name.slice(1)));
  const controls = el("div", { class: "row" });
  const status = el("span", { class: "soft" });
  const result = el("div");

  expr.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey) { event.preventDefault(); run(); }
  });
  const scale = (factor) => { state.range = `${Math.max(1, Math.round(seconds(state.range) * factor))}s`; range.value = state.range; run(); };
  const graphControls = [
    el("button", { title: "Shorter range", onclick: () => scale(0.5) }, "−"), range,
    el("button", { title: "Longer range", onclick: () => scale(2) }, "+"), end, step,
  ];

  page.append(el("div", { class: "card" },
    expr,
    el("div", { class: "row", style: "margin-top:8px" }, go, insert, names, el("span", { class: "grow" }), status),
  ), el("div", { class: "card" }, el("div", { class: "row" }, tabs, el("span", { class: "grow" }), controls), result));

  async function run() {
    running?.abort();
    running = new AbortController();
    state.expr = expr.value.trim();
    writeUrl(state);
    tabs.forEach((tab) => tab.classList.toggle("here", tab.textContent.toLowerCase() === state.tab));
    controls.replaceChildren(...(state.tab === "graph" ? graphControls : [time]));
    if (!state.expr) {
      result.replaceChildren(el("p", { class: "soft" }, "No expression yet. Try: up"));
      return;
    }
    status.textContent = "running…";
    const started = performance.now();
    try {
      const answer = await (state.tab === "graph" ? askRange(running.signal) : askInstant(running.signal));
      const size = Array.isArray(answer.data.result) && answer.data.resultType !== "scalar" ? `${answer.data.result.length} series, ` : "";
      status.textContent = `${size}${Math.round(performance.now() - started)} ms`;
      result.replaceChildren(
        ...(answer.warnings ?? []).map((text) => note("warning", `Warning: ${text}`)),
        ...(answer.infos ?? []).map((text) => note("info", `Info: ${text}`)),
      );
      if (state.tab === "graph") drawChart(result, answer.data.result, answer.grid);
      else result.append(table(answer.data));
    } catch (error) {
      if (error.name === "AbortError") return;
      status.textContent = "";
      result.replaceChildren(note("error", error.message));
    }
  }

  function askInstant(signal) {
    return api("query", { query: state.expr, ...(state.time && { time: state.time }) }, signal);
  }

  async function askRange(signal) {
    const width = seconds(state.range);
    if (!(width > 0)) throw new Error(`"${state.range}" is no range; write it as 30m, 1h or 2d`);
    const last = state.end ? (Number(state.end) || Date.parse(state.end) / 1000) : Date.now() / 1000;
    if (!Number.isFinite(last)) throw new Error(`"${state.end}" is no time`);
    const every = state.step ? seconds(state.step) : Math.max(1, Math.ceil(width / POINTS));
    const grid = { start: last - width, end: last, step: every };
    const answer = await api("query_range", { query: state.expr, start: grid.start, end: grid.end, step: grid.step }, signal);
    return { ...answer, grid };
  }

  api("label/__name__/values?limit=10000")
    .then((answer) => names.replaceChildren(...answer.data.map((name) => el("option", { value: name }))))
    .catch(() => {});
  run();
}

// What a series has: the sample of an instant, or a line for each of a range.
function samples(series) {
  if (series.value) return series.value[1];
  if (series.histogram) return histogramText(series.histogram[1]);
  return [
    ...(series.values ?? []).map(([at, value]) => el("div", {}, `${value} @${at}`)),
    ...(series.histograms ?? []).map(([at, histogram]) => el("div", {}, `${histogramText(histogram)} @${at}`)),
  ];
}

// As PromQL writes a native histogram: {count:3, sum:4.5, (1,2]:3}.
function histogramText({ count, sum, buckets = [] }) {
  const parts = buckets.map(([rule, lower, upper, inBucket]) => {
    const [open, close] = ["(]", "[)", "()", "[]"][rule];
    return `${open}${lower},${upper}${close}:${inBucket}`;
  });
  return `{${[`count:${count}`, `sum:${sum}`, ...parts].join(", ")}}`;
}

function table(data) {
  if (data.resultType === "scalar" || data.resultType === "string") {
    return el("table", {}, el("tr", {}, el("td", {}, data.resultType), el("td", { class: "value mono" }, data.result[1])));
  }
  if (!data.result.length) return el("p", { class: "soft" }, "Empty query result");
  const rows = data.result.slice(0, ROWS_MAX).map((series) => el("tr", {},
    el("td", { class: "mono" }, seriesName(series.metric)),
    el("td", { class: "value mono" }, samples(series)),
  ));
  const more = data.result.length > ROWS_MAX ? el("p", { class: "soft" }, `The first ${ROWS_MAX} of ${data.result.length} series.`) : null;
  return el("div", {}, el("table", {}, rows), more);
}
