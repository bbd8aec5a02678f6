.DEFAULT_GOAL := help
.PHONY: help test components bench soak idle differential http-rules testssl fuzz deny image doc

CARGO ?= cargo
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s%s\n", $$1, $$2 }' $(MAKEFILE_LIST)

test: components ## Everything that a change must pass
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	$(CARGO) test --locked -- --include-ignored

components: ## Install the programs that the tests run against, where missing
	tests/components.sh

bench: ## CPU a request and a handshake beside nginx and HAProxy, then the micro-benchmarks
	tests/components.sh bench
	$(CARGO) build --locked --release
	python3 -B tests/bench/compare.py
	python3 -B tests/bench/tls.py
	$(CARGO) bench --locked --bench routing --bench reload

soak: ## Bodies of 5 GiB through the release binary: nothing lost, no memory for them
	tests/components.sh bench
	$(CARGO) build --locked --release
	python3 -B tests/bench/soak.py

idle: ## Memory of 10,000 idle connections beside nginx and HAProxy
	tests/components.sh bench
	$(CARGO) build --locked --release
	python3 -B tests/bench/idle.py

# STREAMS for httparse and hyper, STRICT for h11, from SEED.
STREAMS ?= 200000
STRICT ?= 50000
SEED ?= 1

differential: ## Our parser beside httparse, hyper and h11 on random streams
	tests/components.sh differential
	$(CARGO) bench --locked --profile fuzz --bench differential -- $(STREAMS) $(STRICT) $(SEED)

http-rules: ## docs/http.md against what Pointsman, nginx and HAProxy do
	tests/components.sh rules
	$(CARGO) build --locked
	python3 -B tests/http_rules/compare.py --check docs/http.md

testssl: ## What testssl.sh finds in a listener with TLS as it is by default
	tests/components.sh testssl
	$(CARGO) build --locked
	tests/testssl.sh

# NAME is head, forwarded, paths or toml; N executions from SEED.
fuzz: ## Heads, forwarded fields, paths and TOML by properties
	$(CARGO) bench --locked --profile fuzz --bench fuzz -- $(NAME) $(N) $(if $(N),$(SEED))

# Building cargo-deny takes some minutes, once.
deny: ## Licences, sources and banned crates of every dependency
	@$(CARGO) deny --version >/dev/null 2>&1 || $(CARGO) install --locked cargo-deny
	$(CARGO) deny check bans licenses sources

image: ## The container image, as pointsman:VERSION and pointsman:latest
	docker build --build-arg VERSION=$(VERSION) -t pointsman:$(VERSION) -t pointsman .

doc: ## The API of every module, private ones included
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps --document-private-items
