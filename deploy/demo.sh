#!/usr/bin/env bash
# Three nodes on this machine that scrape each other, until Ctrl-C. PHAROS is the program, DEMO_DIR where they keep what they have.
set -euo pipefail
cd "$(dirname "$0")"
pharos="${PHAROS:?set PHAROS to the program}"
dir="${DEMO_DIR:-$(mktemp -d)}"
peers=127.0.0.1:9195,127.0.0.1:9196,127.0.0.1:9197
mkdir -p "$dir/objects"
nodes=()
stop() {
	trap - EXIT INT TERM
	kill "${nodes[@]}" 2>/dev/null || true
	wait
}
trap stop EXIT INT TERM
for at in 0 1 2; do
	"$pharos" server --config.file=demo.yml --storage.path="$dir/$at" --object-store="file://$dir/objects" \
		--web.listen-address="127.0.0.1:$((9190 + at))" --web.enable-admin-api --cluster.name=demo \
		--cluster.listen-address="127.0.0.1:$((9195 + at))" --cluster.initial-nodes="$peers" 2>"$dir/$at.log" &
	nodes+=($!)
done
for at in 0 1 2; do
	until curl --silent --fail --output /dev/null "http://127.0.0.1:$((9190 + at))/-/ready"; do
		kill -0 "${nodes[$at]}" 2>/dev/null || { tail -n 3 "$dir/$at.log" >&2; exit 1; }
		sleep 0.2
	done
done
cat <<END
three nodes, what they keep is in $dir
  graph    http://127.0.0.1:9190/query?g0.expr=sum+by+(instance)(rate(prometheus_http_requests_total%5B1m%5D))
  targets  http://127.0.0.1:9191/targets       each is scraped by one node
  cluster  http://127.0.0.1:9192/cluster
  $pharos cluster status --url=http://127.0.0.1:9190
Kill one (kill -9 ${nodes[0]}, ${nodes[1]}, ${nodes[2]}) and look on at another. Ctrl-C ends all.
END
# The load: somebody looks at a dashboard.
while sleep 1; do
	for at in 0 1 2; do
		curl --silent --output /dev/null --max-time 5 "http://127.0.0.1:$((9190 + at))/api/v1/query?query=sum(up)" || true
	done
done
