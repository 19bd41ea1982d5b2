# The two commands: `make demo` shows the platform, `make test` proves it. Both set up what they need.

PYTHON ?= /usr/bin/python3
STACKS ?= /var/cache/paas/stacks
VENV   := .venv
BIN    := $(VENV)/bin

PACKAGES      := python3-venv git openssh-client curl ca-certificates iproute2 nftables mmdebstrap debian-archive-keyring
TEST_PACKAGES := skopeo umoci zstd docker-registry wrk chromium slowhttptest nghttp2-client pebble openssl gcc busybox-static python3-dev
BENCH_PACKAGES := nginx-light haproxy caddy nghttp2-client openssl gcc libc6-dev
LONG_PACKAGES := podman docker.io qemu-system-x86 cpio kmod e2fsprogs gcc python3-dev

.PHONY: help setup setup-dev demo test test-long bench lint format docs clean

help:
	@echo "make setup      virtual environment, Debian packages, system users, base stack"
	@echo "make demo       start the platform, push examples/hello, show the answer (ONCE=1: then stop)"
	@echo "make test       the whole suite"
	@echo "make test-long  virtual machine, fault matrix, soak"
	@echo "make bench      the figures that people feel, beside their budgets"
	@echo "make lint       ruff and mypy"

# The Python sources run as well, only slower: so this may fail.
define compile_core
	@if $(BIN)/python -P -m router.core --due; then \
	    echo "Compiling the router's core (a minute or two)"; \
	    { $(BIN)/pip install -q -e '.[compiled]' && nice $(BIN)/python -P -m router.core; } >/dev/null 2>&1 \
	        || echo "The router's core could not be compiled, it runs slower; $(BIN)/python -m router.core tells why."; \
	fi
endef

define install
	@missing=""; for package in $(1); do \
	    dpkg-query -W -f='$${Status}' $$package 2>/dev/null | grep -q '^install ok installed' || missing="$$missing $$package"; \
	done; \
	if [ -n "$$missing" ]; then \
	    echo "Installing$$missing"; \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive $(2) apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
	fi
endef

$(VENV)/.made: pyproject.toml
	$(call install,$(PACKAGES))
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$(PYTHON) is older than Python 3.11; set PYTHON=/path/to/python3"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q -e .
	@touch $@

$(VENV)/.made-dev: $(VENV)/.made
	$(BIN)/pip install -q -e '.[dev]'
	@touch $@

setup: $(VENV)/.made
	$(call install,$(PACKAGES))
	@$(BIN)/python -P -c 'from paas.host.accounts import ensure_accounts; ensure_accounts()'
	@$(BIN)/python -P -m compileall -q paas router runtime buildpacks  # daemons write none: each would compile at each start
	@$(BIN)/python -P -m runtime.stack create debian-12 --stacks $(STACKS)
	$(compile_core)

setup-dev: setup $(VENV)/.made-dev
	$(call install,$(TEST_PACKAGES),sh tests/bench/without_services.sh)

demo: setup
	@$(BIN)/python -P examples/demo.py --stacks $(STACKS) $(if $(ONCE),--once)

test: setup-dev
	$(BIN)/python -P -m router.core
	ROUTER_CORE=pure $(BIN)/python -m pytest -q -n auto -m "not long" tests/unit/router
	ROUTER_CORE=compiled $(BIN)/python -m pytest -q -n auto -m "not long" tests/unit
	ROUTER_CORE=compiled PAAS_TEST_STACKS=$(STACKS) $(BIN)/python -m pytest -q -n 2 --dist loadfile -m "not long and not alone" tests/system
	ROUTER_CORE=compiled PAAS_TEST_STACKS=$(STACKS) $(BIN)/python -m pytest -q -m "not long and alone" tests/system

test-long: setup-dev
	$(call install,$(LONG_PACKAGES),sh tests/bench/without_services.sh)
	$(BIN)/python -m pytest -q -n auto -m long tests/unit
	PAAS_TEST_STACKS=$(STACKS) $(BIN)/python -m pytest -q -n 2 --dist loadfile -m long tests/system/build tests/system/release
	PAAS_TEST_STACKS=$(STACKS) $(BIN)/python -m pytest -q -m long tests/system --ignore=tests/system/build --ignore=tests/system/release

bench: setup-dev
	$(call install,$(BENCH_PACKAGES),sh tests/bench/without_services.sh)
	$(BIN)/python -P -m router.core
	$(BIN)/python -P tests/bench/run.py

lint: $(VENV)/.made-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.made-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/.made-dev
	$(BIN)/python -P -m paas.cli.reference > docs/cli.md

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache
