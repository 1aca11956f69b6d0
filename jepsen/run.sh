#!/usr/bin/env bash
# Runs of the harness, one after the other; stops at the first that finds something. Everything is in the folder OUT.
#   run.sh short   five minutes, fixed seeds
#   run.sh long    about an hour, new seeds
# PHAROS and JEPSEN are the two programs, RATE is how many writes a second there are. NODES is how many nodes a cluster has; with 1 there is
# no cluster. TIME_BOUNDS=lenient is for machines that others use too. Summaries are kept in OUT/results, `jepsen sum` adds them up.
set -euo pipefail
leg="${1:?short or long}"
pharos="${PHAROS:-target/release/pharos}"
jepsen="${JEPSEN:-target/release/jepsen}"
out="${OUT:-target/jepsen}"
nodes="${NODES:-3}"
rate="${RATE:-200}"
bounds="${TIME_BOUNDS:-strict}"

# Power loss and partitions need disks and networks of their own, which only root may make, and not in every container.
isolated=()
if unshare --mount --net --pid --fork true 2>/dev/null; then
	isolated=(--net=namespaces --disk=image)
else
	echo "no namespaces here: power loss, full and slow disks, partitions are left out"
fi
if [ "$nodes" -gt 1 ] && ! "$pharos" server --help | grep -q -- --cluster.join; then
	echo "this pharos knows no other nodes: runs of several are left out"
	nodes=1
fi

run() {
	local name="$1"
	shift
	rm -rf "${out:?}/$name"
	mkdir -p "$out"
	echo "== $name"
	"$jepsen" run --pharos="$pharos" --out="$out/$name" --results="$out/results" --rate="$rate" --time-bounds="$bounds" "${isolated[@]}" "$@"
}

# Several nodes. Many writers, so that every node leads something that somebody writes to.
cluster() {
	if [ "$nodes" -gt 1 ]; then run "$@" --nodes="$nodes" --writers=16; fi
}

# A node makes one checkpoint a second, of one partition, and has to live that long. Where samples' time runs fast, slices are sealed.
often=(--flag=--storage.checkpoint-interval=500ms)
sealing=(--hours-of-samples=6 --flag=--storage.seal-interval=5m)

deaths=kill,kill-leader,kill-majority,kill-all,terminate,rolling,pause-leader,pause-majority
deaths+=,power-loss,power-loss-leader,power-loss-majority,power-loss-all,power-loss-and-pause
links=partition,leader-alone,loss,loss-all,slow-link,slow-link-all,clock,disk-full,full-restart,slow-disk,hung-disk
members=replace,resize

began=$SECONDS
case "$leg" in
short)
	# The same seeds each time: what there is of them would count twice.
	rm -rf "${out:?}/results"
	cluster deaths --seed=1 --seconds=80 --quiet-ms=2000 --faults="$deaths" "${often[@]}"
	cluster links --seed=2 --seconds=60 --quiet-ms=1000 --faults="$links"
	cluster members --seed=3 --seconds=40 --quiet-ms=2000 --faults="$members" "${often[@]}"
	run alone --seed=1 --seconds=40 --quiet-ms=1000 "${often[@]}"
	run sealing --seed=3 --seconds=30 --quiet-ms=6000 --faults=kill,terminate "${often[@]}" "${sealing[@]}"
	;;
long)
	for round in 1 2; do
		cluster "every-fault-$round" --seconds=480
		cluster "deaths-$round" --seconds=360 --quiet-ms=2500 --faults="$deaths" "${often[@]}"
		cluster "members-$round" --seconds=240 --quiet-ms=4000 --faults="$members,kill-leader,power-loss" "${often[@]}"
		cluster "bound-$round" --seconds=120 --paths=bound --faults="$links,$deaths"
		cluster "sealing-$round" --seconds=180 --quiet-ms=8000 --faults=kill,terminate,power-loss,replace "${often[@]}" "${sealing[@]}"
		run "alone-$round" --seconds=180 --quiet-ms=2500 --faults=kill,power-loss,full-restart,hung-disk "${often[@]}"
		run "late-samples-$round" --seconds=90 --late-window=10m "${often[@]}"
	done
	;;
*)
	echo "short or long, not $leg" >&2
	exit 2
	;;
esac
echo "== all of $out/results, after $((SECONDS - began)) s"
"$jepsen" sum --time-bounds="$bounds" "$out/results"
