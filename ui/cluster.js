// The cluster page: nodes, partitions, and what is under way. It looks again by itself.
import { api, el, note } from "./dom.js";

const LOOK_EVERY_MS = 2000;
const STATES = {
  ok: "all replicas are there and have caught up",
  degraded: "works, with fewer replicas than it should have",
  no_leader: "no leader is known: takes no writes until it has one",
  lost: "its majority was removed by force",
};

export function clusterPage(page) {
  const summary = el("div", { class: "soft" });
  const wrong = el("div");
  const nodes = el("div", { class: "card" });
  const partitions = el("div", { class: "card" });
  const under_way = el("div", { class: "card" });
  page.append(el("div", { class: "card" }, el("h2", {}, "Cluster"), summary, wrong), nodes, under_way, partitions);

  async function look() {
    try {
      const status = (await api("status/cluster")).data;
      const short = shortNames(status);
      summary.replaceChildren(...headline(status, short));
      wrong.replaceChildren(...amiss(status, short));
      nodes.replaceChildren(el("h2", {}, "Nodes"), nodeTable(status, short));
      under_way.replaceChildren(el("h2", {}, "Under way"), ...underWay(status, short));
      partitions.replaceChildren(el("h2", {}, "Partitions"), legend(), grid(status, short));
    } catch (error) {
      wrong.replaceChildren(note("error", `The node does not answer: ${error.message}. What is shown is from before.`));
    }
    setTimeout(look, LOOK_EVERY_MS);
  }
  look();
}

// The first eight digits of an id, or as many as tell it from the others.
function shortNames(status) {
  const ids = status.nodes.map((node) => node.id);
  return (id) => {
    let digits = 8;
    while (digits < id.length && ids.some((other) => other !== id && other.startsWith(id.slice(0, digits)))) digits++;
    return id.slice(0, digits);
  };
}

function many(count, what) {
  return count === 1 ? `1 ${what}` : `${count} ${what}s`;
}

function headline(status, short) {
  const { cluster, metadata } = status;
  const voters = metadata.voters.map(short).join(" ");
  return [
    el("div", {}, cluster ? `${cluster.name || "cluster"} ${cluster.id}, revision ${status.revision}` : "no cluster yet"),
    el("div", {}, `metadata ${metadata.leader ? `led by ${short(metadata.leader)}` : "without a leader"}, voters ${voters}`),
  ];
}

function amiss(status, short) {
  const partitions = (state) => status.partitions.filter((partition) => partition.state === state).length;
  const silent = status.nodes.filter((node) => !node.alive).length;
  const bad = [
    [partitions("lost"), "partition", "lost"], [partitions("no_leader"), "partition", "without a leader"],
  ].filter(([count]) => count).map(([count, what, how]) => `${many(count, what)} ${how}`);
  const poor = [
    [partitions("degraded"), "partition", "degraded"], [silent, "node", "silent"],
  ].filter(([count]) => count).map(([count, what, how]) => `${many(count, what)} ${how}`);
  return [
    bad.length ? note("error", bad.join(", ")) : null,
    poor.length ? note("warning", poor.join(", ")) : null,
    ...differences(status, short),
    ...refusals(status, short),
    !status.metadata.leader ? note("error", "The metadata group has no leader: members and configuration cannot be changed.") : null,
    !bad.length && !poor.length && status.metadata.leader ? note("info", "All partitions are led and whole.") : null,
  ].filter(Boolean);
}

// Nodes whose gossip is not taken, and what to do about it.
function refusals(status, short) {
  const refused = status.nodes.filter((node) => node.gossip?.refused);
  return refused.map((node) => note("warning", `Gossip of ${short(node.id)} is refused: ${node.gossip.refused}`));
}

// Nodes that go by another configuration than most, or could not take the newest.
function differences(status, short) {
  const groups = status.config_differences ?? [];
  if (!groups.length) return [];
  const lines = groups.map((group) => `${configText(group)} ${group.hash.slice(0, 8)}${group.applied ? "" : ", could not take a newer one"}: ${group.nodes.map(short).join(" ")}`);
  return [note("warning", ["Configuration differs between nodes:", ...lines].join("\n"))];
}

function configText(config) {
  if (!config) return "–";
  return config.source === "document" ? `document v${config.version}` : "own file";
}

function heard(ms) {
  if (ms == null) return "never";
  if (ms < 1000) return "now";
  if (ms < 120_000) return `${Math.floor(ms / 1000)} s ago`;
  return ms < 7_200_000 ? `${Math.floor(ms / 60_000)} min ago` : `${Math.floor(ms / 3_600_000)} h ago`;
}

// What the node that was asked hears of another in gossip.
function gossip(heardOf) {
  if (!heardOf) return el("td", {}, "–");
  const title = [heardOf.refused, heardOf.version && `version ${heardOf.version}`, heardOf.config && `configuration ${heardOf.config}`].filter(Boolean).join("\n");
  return el("td", { title }, heardOf.refused ? "refused" : heard(heardOf.heard_ms));
}

function load(heardOf) {
  const said = heardOf?.load;
  return said ? [said.cpu.toFixed(2), Math.round(said.samples), said.series] : ["–", "–", "–"];
}

function nodeTable(status, short) {
  const heads = [
    ...["Node", "State", "Zone", "HTTP", "Peers", "Configuration", "Heard", "Gossip"].map((head) => el("th", {}, head)),
    ...["Leads", "Holds", "Coming", "CPU", "Samples/s", "Series"].map((head) => el("th", { class: "value" }, head)),
  ];
  const row = (node) => el("tr", {},
    el("td", { class: "mono", title: node.id }, short(node.id)),
    el("td", {}, el("span", { class: `pill ${!node.alive ? "down" : node.state === "active" ? "up" : "unknown"}` }, node.alive ? node.state : "silent")),
    el("td", {}, node.zone || "–"),
    el("td", {}, node.http || "–"),
    el("td", {}, node.peer || "–"),
    el("td", {}, configText(node.config)),
    el("td", {}, heard(node.silence_ms)),
    gossip(node.gossip),
    ...[node.leaders, node.replicas, node.coming, ...load(node.gossip)].map((count) => el("td", { class: "value" }, String(count))));
  const removed = status.nodes_removed ? el("p", { class: "soft" }, `${many(status.nodes_removed, "node")} removed.`) : null;
  return el("div", {}, el("table", {}, el("tr", {}, heads), status.nodes.map(row)), removed);
}

// Drains with how far they are, and replicas on their way.
function underWay(status, short) {
  const drains = status.drains.map((drain) => {
    const held = status.partitions.length;
    const text = drain.done ? "nothing is left: it can be stopped and removed"
      : `${many(drain.leaders_left, "leader")} and ${many(drain.replicas_left, "replica")} left, ${drain.moving} moving${drain.votes_in_metadata ? ", votes on metadata" : ""}`;
    return el("div", { class: "row drain" }, el("span", {}, `Drain of ${short(drain.node)}`),
      el("progress", { max: held, value: held - drain.replicas_left }), el("span", {}, text));
  });
  const moving = status.partitions.filter((partition) => partition.move);
  const moves = moving.length ? el("table", {},
    el("tr", {}, ["Partition", "Comes", "Lacks", "Goes"].map((head) => el("th", {}, head))),
    moving.map(({ partition, move }) => el("tr", {},
      el("td", {}, String(partition)),
      el("td", { class: "mono" }, move.add ? short(move.add.node) : "–"),
      el("td", {}, move.add ? (move.add.lag == null ? "not heard of yet" : many(move.add.lag, "entry").replace("entrys", "entries")) : "–"),
      el("td", { class: "mono" }, move.remove ? short(move.remove) : "–")))) : null;
  const { replicas, leaders } = status.left;
  const left = el("p", { class: "soft" }, replicas || leaders
    ? `${many(replicas, "replica")} and ${many(leaders, "leader")} are not yet where they should be; the cluster moves them by itself.`
    : "Everything is where it should be.");
  return [...drains, moves, left].filter(Boolean);
}

function legend() {
  return el("div", { class: "row soft" }, Object.entries(STATES).map(([state, meaning]) =>
    el("span", { title: meaning }, el("span", { class: `swatch inline state-${state}` }), ` ${state.replace("_", " ")}`)));
}

function grid(status, short) {
  return el("div", { class: "partitions" }, status.partitions.map((partition) => {
    const replicas = partition.replicas.map(({ node, lag }) => {
      const role = node === partition.leader ? "leads" : lag == null ? "not heard of" : lag ? `lacks ${lag}` : "has all";
      return el("div", { class: node === partition.leader ? "leader" : "soft", title: `${node} ${role}` },
        `${short(node)}${node === partition.leader ? " ★" : lag ? ` −${lag}` : lag == null ? " ?" : ""}`);
    });
    const coming = partition.move?.add ? [el("div", { class: "soft" }, `+ ${short(partition.move.add.node)}`)] : [];
    return el("div", { class: `partition state-${partition.state}`, title: `partition ${partition.partition}: ${STATES[partition.state] ?? partition.state}` },
      el("b", {}, String(partition.partition)), replicas, coming);
  }));
}
