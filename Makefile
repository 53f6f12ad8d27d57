# All commands of the project; `make` lists them.

# `make run PROFILE=release` and `make demo PROFILE=release` start optimised
# programs. The default builds several times faster and is quick enough for one.
PROFILE := debug
profile_flag := $(if $(filter release,$(PROFILE)),--release)
programs := $(or $(CARGO_TARGET_DIR),target)

.PHONY: help
help: ## List the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: run
run: ## Start everything, in front of the real Anthropic API
	@scripts/check-tools cargo cc
	cargo build --locked --workspace --bins $(profile_flag)
	@$(programs)/$(PROFILE)/stack run

.PHONY: demo
demo: ## The same in front of a simulated API and Bedrock, with some traffic
	@scripts/check-tools cargo cc
	cargo build --locked --workspace --bins $(profile_flag)
	@$(programs)/$(PROFILE)/stack demo

.PHONY: build
build: ## Build target/release/claude-code-proxy and target/release/claude-code-control
	@scripts/check-tools cargo cc
	cargo build --locked --release --bin claude-code-proxy --bin claude-code-control

.PHONY: check
check: infra ship ## Format, lints, documentation, dependencies, what ships: all that is fast
	@scripts/check-tools cargo cc node npm python3 venv
	cargo fmt --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps --document-private-items
	cargo test --locked --workspace --test documents
	scripts/check-dependencies
	@scripts/run-if-installed cargo-deny cargo deny --offline check --hide-inclusion-graph bans licenses sources
	@scripts/run-if-installed shellcheck shellcheck scripts/* .ci/run testkit/sdk/install testkit/ship/install compose/generate-secrets

# Installs what it needs under .state/ship.
pytest := env PYTHONDONTWRITEBYTECODE=1 .state/ship/venv/bin/pytest testkit/ship

.PHONY: ship
ship: ## Images, compose.yaml, chart, dashboards and alerts, without our programs
	@testkit/ship/install
	$(pytest) -m "not programs"

# Needs no AWS account.
.PHONY: infra
infra: infra/node_modules ## The CDK stacks: types, lints, tests, both environments synthesised
	cd infra && npm run check && npm test && npm run synth
	"$$(scripts/install-cfn-lint .state/cfn-lint)" infra/cdk.out/*/*.template.json

infra/node_modules: infra/package.json infra/package-lock.json
	@scripts/check-tools node npm python3
	cd infra && npm ci --ignore-scripts
	@touch $@

# One build of every crate, with the same features for the tests and for the
# programs that the end-to-end tests start; one Postgres for all of them.
.PHONY: test
test: ## Every test there is
	@scripts/check-tools cargo cc node npm python3
	cargo build --locked --workspace --all-targets
	$(programs)/debug/stack postgres -- cargo test --locked --workspace --no-fail-fast
	@testkit/ship/install
	$(programs)/debug/stack postgres -- $(pytest) -m programs
	@echo "All tests passed."

# The programs are started and measured one after the other, so nothing else
# should keep the machine busy.
.PHONY: bench
bench: ## What it costs: CPU, latency, memory and revocation, beside nginx
	@scripts/check-tools cargo cc
	cargo build --locked --release --workspace --bins
	@BENCH_NGINX="$$(scripts/install-nginx .state/nginx)" $(programs)/release/bench

.PHONY: clean-state
clean-state: ## Forget the data and secrets of `make run` and `make demo`
	@scripts/clean-state run demo
