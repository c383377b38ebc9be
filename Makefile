# Thin: the work is in scripts/. `make` alone shows this help.
.DEFAULT_GOAL := help
SHELL := /bin/bash

# Arguments for the script behind a target: make demo ARGS=--keep
ARGS ?=

.PHONY: help
help: ## Show this help
	@printf 'usage: make TARGET [ARGS="…"]\n\n'
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: ## One ticket to one pull request, on this machine, without any account
	@scripts/demo $(ARGS)

.PHONY: test
test: ## All tests, against a RabbitMQ node started for them
	@scripts/test $(ARGS)

.PHONY: conformance
conformance: ## What the queue does, the same on every transport
	@scripts/test --test it queue_conformance $(ARGS) -- --test-threads=6

.PHONY: check
check: ## The fast loop: format, clippy, unit tests
	@scripts/check $(ARGS)

.PHONY: bench
bench: ## Measure against raw libraries and print a table
	@scripts/bench $(ARGS)

.PHONY: fuzz
fuzz: ## Random inputs near to real ones; ARGS="--cases 100000" without cargo-fuzz
	@scripts/fuzz $(ARGS)

.PHONY: chaos
chaos: ## Kill, stop and cut everything while tickets are worked on, and judge what became of them
	@scripts/chaos $(ARGS)

.PHONY: build
build: ## Build the three programs for use, into target/release
	@cargo build --locked --release --bins $(ARGS)

.PHONY: setup
setup: ## Install missing system packages (Debian, Ubuntu)
	@scripts/setup $(ARGS)

.PHONY: ci
ci: ## The whole gate, as every change has to pass it
	@bash .ci/run

.PHONY: clean
clean: ## Remove everything that was built
	@cargo clean
	@rm -rf .cache
