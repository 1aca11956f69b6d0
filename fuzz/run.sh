#!/bin/sh
# Runs every fuzz target, or those named, for the given number of seconds (default 60):
#     fuzz/run.sh [seconds [target...]]
# A crash ends the run and leaves its input in fuzz/artifacts; `cargo fuzz run --fuzz-dir fuzz TARGET INPUT` repeats it.
#
# Works with the stable compiler: RUSTC_BOOTSTRAP lets it take the unstable flags. Without a sanitizer, because nearly all that runs
# is safe code, and twice as many inputs find more.
set -eu
cd "$(dirname "$0")"
seconds=${1:-60}
[ $# -eq 0 ] || shift
[ $# -gt 0 ] || set -- $(basename -s .rs targets/*.rs)
export RUSTC_BOOTSTRAP=1
# Targets that need files make and remove many small ones.
[ ! -d /dev/shm ] || export TMPDIR=/dev/shm
command -v cargo-fuzz >/dev/null || cargo install --locked cargo-fuzz

# One input for each line of seeds/TARGET.txt, which is in the escapes of printf's %b.
plant() {
	mkdir -p "corpus/$1"
	[ -f "seeds/$1.txt" ] || return 0
	number=0
	while IFS= read -r line; do
		number=$((number + 1))
		printf '%b' "$line" >"corpus/$1/seed-$number"
	done <"seeds/$1.txt"
}

for name in "$@"; do
	echo "== $name"
	plant "$name"
	dictionary=dictionaries/$name.dict
	[ -f "$dictionary" ] && set -- "-dict=$dictionary" || set --
	cargo fuzz run --fuzz-dir . --target-dir "${CARGO_TARGET_DIR:-target}" --sanitizer none "$name" -- "$@" \
		-max_total_time="$seconds" -rss_limit_mb=2048 -timeout=10 -print_final_stats=1
done
