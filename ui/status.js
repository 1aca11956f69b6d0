// The status page: build, runtime, flags, head statistics, configuration.
import { api, el, note } from "./dom.js";

export async function statusPage(page) {
  await Promise.all([
    section(page, "Runtime", "status/runtimeinfo", (data) => pairs(data)),
    section(page, "Build", "status/buildinfo", (data) => pairs(data)),
    section(page, "Head", "status/tsdb", head),
    section(page, "Flags", "status/flags", (data) => pairs(data)),
    section(page, "Configuration", "status/config", (data) => [el("pre", { class: "mono" }, data.yaml)]),
  ]);
}

async function section(page, title, path, show) {
  const body = el("div", {}, el("p", { class: "soft" }, "loading…"));
  page.append(el("div", { class: "card" }, el("h2", {}, title), body));
  try {
    body.replaceChildren(...show((await api(path)).data));
  } catch (error) {
    body.replaceChildren(note("error", error.message));
  }
}

function pairs(data) {
  return [el("table", {}, Object.entries(data).map(([name, value]) => el("tr", {}, el("td", {}, name), el("td", { class: "mono" }, String(value)))))];
}

function head(data) {
  const lists = [
    ["Series by metric name", data.seriesCountByMetricName],
    ["Label values by label name", data.labelValueCountByLabelName],
    ["Series by label pair", data.seriesCountByLabelValuePair],
  ];
  return [...pairs(data.headStats), ...lists.map(([title, list]) => el("details", {}, el("summary", {}, title), ...pairs(
    Object.fromEntries(list.map((entry) => [entry.name, entry.value])))))];
}
