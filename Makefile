# All commands of the project; `make` lists them.

# `make run PROFILE=release` and `make demo PROFILE=release` start optimised
# programs. The default builds several times faster and is quick enough for one.
PROFILE := debug
profile_flag := $(if $(filter release,$(PROFILE)),--release)
programs := $(or $(CARGO_TARGET_DIR),target)

# What `npm ci` and `npm run build` leave behind.
packages := console/node_modules/.package-lock.json
page := console/dist/index.html

.PHONY: help
help: ## List the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: run
run: console-if-possible ## Start everything, in front of the real Anthropic API
	@scripts/check-tools cargo cc
	cargo build --locked --workspace --bins $(profile_flag)
	@$(programs)/$(PROFILE)/stack run

.PHONY: demo
demo: console-if-possible ## The same in front of a simulated API and Bedrock, with some traffic
	@scripts/check-tools cargo cc
	cargo build --locked --workspace --bins $(profile_flag)
	@$(programs)/$(PROFILE)/stack demo

.PHONY: build
build: console ## Build target/release/claude-code-proxy and target/release/claude-code-control
	@scripts/check-tools cargo cc
	cargo build --locked --release --bin claude-code-proxy --bin claude-code-control

# Control serves what is in console/dist, and embeds it when it is optimised.
.PHONY: console
console: $(page) ## Build the console that control serves

# Who only wants a proxy needs no Node.js for it.
.PHONY: console-if-possible
console-if-possible:
	@scripts/check-tools node npm && $(MAKE) --no-print-directory console || \
		echo "Going on without the console." >&2

$(page): $(packages) $(shell find console/src console/public console/scripts -type f) \
		console/index.html console/package.json console/vite.config.ts scripts/status-line
	cd console && npm run build

$(packages): console/package-lock.json
	@scripts/check-tools node npm
	cd console && npm ci --no-progress
	@touch $@

.PHONY: check
check: check-programs check-console infra ship ## Format, lints, documentation, dependencies, what ships: all that is fast

.PHONY: check-programs
check-programs:
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

# Apart from the checks: it compiles everything once more, and needs root on Debian.
.PHONY: stages
stages: ## The stages of the Dockerfile, built without an engine
	testkit/ship/build-stages

# Needs no AWS account.
.PHONY: infra
infra: infra/node_modules ## The CDK stacks: types, lints, tests, both environments synthesised
	cd infra && npm run check && npm test && npm run synth
	"$$(scripts/install-cfn-lint .state/cfn-lint)" infra/cdk.out/*/*.template.json

infra/node_modules: infra/package.json infra/package-lock.json
	@scripts/check-tools node npm python3
	cd infra && npm ci --ignore-scripts
	@touch $@

.PHONY: check-console
check-console: $(packages)
	cd console && npm run check && npm run build

.PHONY: test
test: $(page) test-programs test-console ## Every test there is
	@echo "All tests passed."

# One build of every crate, with the same features for the tests and for the
# programs that the end-to-end tests start; one Postgres for all of them.
.PHONY: test-programs
test-programs:
	@scripts/check-tools cargo cc node npm python3
	cargo build --locked --workspace --all-targets
	$(programs)/debug/stack postgres -- cargo test --locked --workspace --no-fail-fast
	@testkit/ship/install
	$(programs)/debug/stack postgres -- $(pytest) -m programs

# In Chromium, in front of the same programs.
.PHONY: test-console
test-console: $(page)
	@scripts/check-tools cargo cc
	cd console && npm test
	cargo build --locked --workspace --all-targets
	chromium=$$(scripts/install-chromium) && cd console && CHROMIUM="$$chromium" npm run e2e

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
