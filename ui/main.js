// Picks the page by its path and marks it in the navigation.
import { queryPage } from "./query.js";
import { targetsPage } from "./targets.js";
import { clusterPage } from "./cluster.js";
import { statusPage } from "./status.js";

const pages = { query: queryPage, targets: targetsPage, cluster: clusterPage, status: statusPage };
const name = location.pathname.split("/").filter(Boolean).pop();
const page = pages[name] ? name : "query";

for (const link of document.querySelectorAll("nav a")) {
  link.classList.toggle("here", link.getAttribute("href") === page);
}
pages[page](document.getElementById("page"));
