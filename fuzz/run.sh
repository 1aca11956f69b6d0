#!/bin/sh
# Runs every fuzz target for the given number of seconds (default 60). A crash ends the run and leaves its input in
# fuzz/artifacts. The fuzzer needs an unstable compiler flag, which RUSTC_BOOTSTRAP lets the stable compiler take.
set -eu
cd "$(dirname "$0")"
seconds=${1:-60}
command -v cargo-fuzz >/dev/null || cargo install --locked cargo-fuzz
for target in targets/*.rs; do
	name=$(basename "$target" .rs)
	echo "== $name"
	RUSTC_BOOTSTRAP=1 cargo fuzz run --fuzz-dir . --target-dir target "$name" -- -max_total_time="$seconds" -rss_limit_mb=2048 -timeout=10 -print_final_stats=1
done
