// Elements and API calls, for every page.

// el("div", {class: "x", onclick: f}, child, "text"): text children are never read as markup.
export function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children.flat().filter((child) => child != null));
  return element;
}

// Calls the API; resolves to the whole answer, rejects with the error's text.
export async function api(path, parameters = {}, signal) {
  const response = await fetch(`api/v1/${path}`, Object.keys(parameters).length
    ? { method: "POST", body: new URLSearchParams(parameters), signal }
    : { signal });
  let answer;
  try {
    answer = await response.json();
  } catch {
    throw new Error(`${response.status} ${response.statusText}`);
  }
  if (answer.status !== "success") throw new Error(answer.error || response.statusText);
  return answer;
}

export function note(kind, text) {
  return el("div", { class: `note ${kind}` }, text);
}

// name{a="b"} as PromQL writes it.
export function seriesName(metric) {
  const name = metric.__name__ ?? "";
  const labels = Object.entries(metric).filter(([key]) => key !== "__name__")
    .map(([key, value]) => `${/^[a-zA-Z_]\w*$/.test(key) ? key : JSON.stringify(key)}=${JSON.stringify(value)}`);
  return labels.length || !name ? `${name}{${labels.join(", ")}}` : name;
}

const UNITS = { y: 31536000, w: 604800, d: 86400, h: 3600, m: 60, s: 1 };

// "1h30m" or plain seconds to seconds; NaN where it is neither.
export function seconds(text) {
  if (/^\d+(\.\d+)?$/.test(text)) return Number(text);
  if (!/^(\d+(ms|[ywdhms]))+$/.test(text)) return NaN;
  let total = 0;
  for (const [, number, unit] of text.matchAll(/(\d+)(ms|[ywdhms])/g)) {
    total += unit === "ms" ? number / 1000 : number * UNITS[unit];
  }
  return total;
}
