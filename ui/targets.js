// The targets page: every scrape pool with its targets, their state and last error.
import { api, el, note } from "./dom.js";

export async function targetsPage(page) {
  const filter = el("input", { placeholder: "filter by label or address…", size: 32, "aria-label": "Filter" });
  const onlyBad = el("input", { type: "checkbox", id: "only-bad" });
  const list = el("div");
  page.append(el("div", { class: "card row" }, el("h2", { class: "grow" }, "Targets"), filter, onlyBad, el("label", { for: "only-bad" }, "unhealthy only")), list);
  let targets = [];
  const show = () => list.replaceChildren(...pools(targets.filter((target) =>
    (!onlyBad.checked || target.health !== "up") && matches(target, filter.value))));
  filter.addEventListener("input", show);
  onlyBad.addEventListener("change", show);
  try {
    targets = (await api("targets?state=active")).data.activeTargets;
    show();
  } catch (error) {
    list.replaceChildren(note("error", error.message));
  }
}

function matches(target, text) {
  return `${target.scrapeUrl} ${Object.values(target.labels).join(" ")}`.toLowerCase().includes(text.toLowerCase());
}

function pools(targets) {
  if (!targets.length) return [el("p", { class: "soft" }, "No targets.")];
  const byPool = Map.groupBy ? Map.groupBy(targets, (target) => target.scrapePool)
    : targets.reduce((map, target) => map.set(target.scrapePool, [...(map.get(target.scrapePool) ?? []), target]), new Map());
  return [...byPool].map(([pool, members]) => {
    const up = members.filter((target) => target.health === "up").length;
    return el("div", { class: "card" },
      el("h2", {}, `${pool} `, el("span", { class: "soft" }, `${up} / ${members.length} up`)),
      el("table", {},
        el("tr", {}, ["Endpoint", "State", "Labels", "Last scrape", "Duration"].map((head) => el("th", {}, head))),
        members.map(row)));
  });
}

function row(target) {
  const never = target.lastScrape.startsWith("0001");
  return el("tr", {},
    el("td", {}, el("a", { href: target.globalUrl }, target.scrapeUrl), target.lastError ? note("error", target.lastError) : null),
    el("td", {}, el("span", { class: `pill ${target.health}` }, target.health.toUpperCase())),
    el("td", { class: "mono" }, Object.entries(target.labels).map(([name, value]) => el("span", { class: "label" }, `${name}="${value}"`))),
    el("td", {}, never ? "never" : `${Math.max(0, (Date.now() - Date.parse(target.lastScrape)) / 1000).toFixed(1)} s ago`),
    el("td", {}, `${(target.lastScrapeDuration * 1000).toFixed(1)} ms`));
}
