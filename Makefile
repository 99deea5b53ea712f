# Two commands do everything: `make up` starts the system on this machine, `make test` runs what CI runs.

CARGO ?= cargo
PCS = target/release/pcs

.PHONY: up build test test-rust fmt lint gen bench chaos model

## Build, start PostgreSQL, NATS and every role here, and run the demo suite the first time.
up: build
	@exec $(PCS) up

build:
	$(CARGO) build --release --locked -p pcs

## Everything CI runs, cheapest first.
test: fmt lint test-rust

fmt:
	$(CARGO) fmt --all --check

lint:
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings

test-rust:
	$(CARGO) build --workspace --locked
	$(CARGO) test --workspace --locked --no-fail-fast

## Write what is generated: missing event schemas and samples, and the catalogue of events.
gen:
	PCS_GEN=1 $(CARGO) test --locked -p pcs-tests --test contract event_schemas

## Measure: `make bench`, or `make bench NAME=append`.
bench: build
	$(CARGO) build --release --locked -p pcs-bench
	$(CARGO) build --release --locked --manifest-path bench/peers/Cargo.toml --target-dir target/peers
	target/release/pcs-bench $(NAME)

## Kill, freeze and wipe at random for ten minutes; what it says is kept in docs/chaos.md.
chaos:
	$(CARGO) build --locked -p pcs
	PCS_CHAOS_SECONDS=600 $(CARGO) test --locked -p pcs-tests --test chaos j61 -- --nocapture

## A small real model behind an OpenAI-compatible address on this machine; Ctrl-C stops it.
model:
	examples/real-model/serve.sh
