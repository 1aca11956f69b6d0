#!/usr/bin/env bash
# Runs of the harness, one after the other; stops at the first that finds something. Everything is in the folder OUT.
#   run.sh short   some minutes, fixed seeds
#   run.sh long    about an hour, new seeds
# PHAROS and JEPSEN are the two programs. NODES is how many nodes a cluster has.
set -euo pipefail
leg="${1:?short or long}"
pharos="${PHAROS:-target/release/pharos}"
jepsen="${JEPSEN:-target/release/jepsen}"
nodes="${NODES:-1}"
out="${OUT:-target/jepsen}"

# Power loss and partitions need disks and networks of their own, which only root may make, and not in every container.
isolated=()
if unshare --mount --net --pid --fork true 2>/dev/null; then
	isolated=(--net=namespaces --disk=image)
else
	echo "no namespaces here: power loss, full and slow disks, partitions are left out"
fi

run() {
	local name="$1"
	shift
	rm -rf "${out:?}/$name"
	mkdir -p "$out"
	echo "== $name"
	"$jepsen" run --pharos="$pharos" --nodes="$nodes" --out="$out/$name" "${isolated[@]}" "$@"
}

# A node makes one checkpoint a second, of one partition, and has to live that long. Where samples' time runs fast, slices are sealed.
often=(--flag=--storage.checkpoint-interval=500ms)
sealing=(--hours-of-samples=6 --flag=--storage.seal-interval=5m)

case "$leg" in
short)
	run every-fault --seed=1 --seconds=60 --quiet-ms=1000 "${often[@]}"
	run crashes --seed=2 --seconds=60 --quiet-ms=2000 --faults=kill,kill-all,power-loss,power-loss-all "${often[@]}"
	run sealing --seed=3 --seconds=40 --quiet-ms=6000 --faults=kill,terminate "${often[@]}" "${sealing[@]}"
	;;
long)
	for round in 1 2 3; do
		run "every-fault-$round" --seconds=600
		run "crashes-$round" --seconds=600 --quiet-ms=2500 --faults=kill,kill-all,power-loss,power-loss-all "${often[@]}"
		run "late-samples-$round" --seconds=180 --late-window=10m "${often[@]}"
		run "sealing-$round" --seconds=180 --quiet-ms=8000 --faults=kill,terminate,power-loss "${often[@]}" "${sealing[@]}"
	done
	;;
*)
	echo "short or long, not $leg" >&2
	exit 2
	;;
esac
