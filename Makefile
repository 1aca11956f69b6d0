# make run     one node that scrapes itself, http://localhost:9090
# make demo    three nodes on this machine that scrape each other
# make test    every check and test
# make verify  checks only: format, lints, arrows between crates
# make t CRATE=storage   one crate's tests
# make fix     formats and applies what the linter can mend
# make fuzz    every fuzz target for a minute
# make differential   random PromQL against a plain evaluator and Prometheus, for a minute
# make simulate   whole clusters on simulated time, SEEDS of them (300), two minutes;  SEED=7 runs one and tells what happens
# make jepsen-short   faults on three real nodes and a judgement of what clients saw, five minutes;  make jepsen   about an hour
# make jepsen-bugs    plants known bugs in a copy of the tree and sees that they are caught, hours
# make bench   micro-benchmarks;  make versus  side by side with installed peers

CARGO ?= cargo
LISTEN ?= 0.0.0.0:9090
FUZZ_SECONDS ?= 60
DIFFERENTIAL_SECONDS ?= 60
SEEDS ?= 300
# `dev` is what `make test` has built, down to dependencies' features: those that a test asks for. Slower nodes want a smaller RATE.
JEPSEN_PROFILE ?= release
JEPSEN_BUILD = $(if $(filter dev,$(JEPSEN_PROFILE)),--test arrows,--profile=$(JEPSEN_PROFILE))
JEPSEN_PROGRAMS = $(TARGET)/$(if $(filter dev,$(JEPSEN_PROFILE)),debug,$(JEPSEN_PROFILE))
TARGET := $(or $(CARGO_TARGET_DIR),target)
# The Python that tests talk to: an environment of its own, because Debian's takes no packages from elsewhere.
PYTHON ?= $(abspath $(TARGET))/peers-venv/bin/python
export PYTHON
# Programs that come as Python packages are found there too.
export PATH := $(PATH):$(dir $(PYTHON))
# `--workspace` everywhere: another selection of packages means other features, and another build of DataFusion.

.PHONY: run demo test verify t fix peers bench versus fuzz differential simulate jepsen jepsen-short jepsen-bugs

run:
	$(CARGO) build --release --workspace --bin pharos
	$(TARGET)/release/pharos server --config.file=deploy/prometheus.yml --storage.path=./data --web.listen-address=$(LISTEN)

demo:
	$(CARGO) build --release --workspace --bin pharos
	PHAROS=$(abspath $(TARGET))/release/pharos deploy/demo.sh

test: verify peers
	$(CARGO) test --workspace
	$(MAKE) simulate

verify:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	$(CARGO) test --workspace --test arrows

t:
	$(CARGO) test -p pharos-$(CRATE)

fix:
	$(CARGO) clippy --fix --allow-dirty --workspace --all-targets
	$(CARGO) fmt --all

# Real peers for the whole-node tests; without them those tests say so and skip.
peers:
	@tests/peers.sh

bench:
	$(CARGO) bench --workspace --bench '*'

versus:
	$(CARGO) build --release --workspace --bin pharos --bin versus
	$(TARGET)/release/versus

fuzz:
	fuzz/run.sh $(FUZZ_SECONDS)

differential:
	PHAROS_DIFFERENTIAL_SECS=$(DIFFERENTIAL_SECONDS) $(CARGO) test --workspace --test differential

# With `tokio_unstable` a seed fixes everything; it needs another build of all that uses tokio, in a folder of its own.
simulate:
	RUSTFLAGS="--cfg tokio_unstable" PHAROS_SIM_SEEDS=$(SEEDS) $(if $(SEED),PHAROS_SIM_SEED=$(SEED)) \
		$(CARGO) test --profile simulation --target-dir $(TARGET)/simulation -p pharos-cluster --lib simulation -- --nocapture

jepsen jepsen-short:
	$(CARGO) build $(JEPSEN_BUILD) --workspace --bin pharos --bin jepsen
	PHAROS=$(JEPSEN_PROGRAMS)/pharos JEPSEN=$(JEPSEN_PROGRAMS)/jepsen OUT=$(TARGET)/jepsen jepsen/run.sh $(if $(findstring short,$@),short,long)

jepsen-bugs:
	$(CARGO) run --release --workspace --bin jepsen -- bugs --work=$(TARGET)/jepsen-bugs
