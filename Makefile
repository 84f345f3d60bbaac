# Everything runs from a bare checkout: each target first makes what it needs, and only when that is missing or stale.
#
#     make demo                       a program to look at first
#     make test                       every check that CI runs
#     make test PYTHON=python3.13     the same with another interpreter (3.11 to 3.13), in an environment of its own
#     make test JOBS=1                with so many processes that run tests
#
# Node.js 20 or later and npm are needed, too: the tests talk to real servers.

PYTHON ?= python3

# An environment for each version, so that changing PYTHON neither breaks one nor builds it anew each time.
VERSION := $(shell $(PYTHON) -c 'import platform; print(platform.python_version())' 2>/dev/null)
ifeq ($(VERSION),)
$(error "$(PYTHON)" does not run; choose an interpreter with "make PYTHON=...")
endif
VENV ?= .venv-$(VERSION)
BIN := $(VENV)/bin
PEERS := tests/peers/node_modules
JOBS ?= 3

VENV_READY := $(VENV)/.ready
PEERS_READY := $(PEERS)/.ready

.PHONY: test demo lint types docs unit bench clean

test: lint types docs unit

demo: $(VENV_READY) $(PEERS_READY)
	$(BIN)/python -m tests.demo

lint: $(VENV_READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports

types: $(VENV_READY) $(PEERS_READY)
	$(BIN)/mypy
	$(PEERS)/.bin/pyright --pythonpath $(BIN)/python

docs: $(VENV_READY)
	$(BIN)/sphinx-build -q -W --keep-going -b html docs docs/_build/html

unit: $(VENV_READY) $(PEERS_READY)
	$(BIN)/pytest --cov --numprocesses $(JOBS) --dist worksteal

bench: $(VENV_READY) $(PEERS_READY)
	$(BIN)/python -m tests.benchmarks $(ROUNDS)

clean:
	rm -rf .venv-* $(PEERS) build dist docs/_build .coverage .coverage.* .hypothesis .import_linter_cache
	rm -rf .mypy_cache .pytest_cache .ruff_cache

# The stamps come last, so that an installation that broke off is done again.
$(VENV_READY): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

$(PEERS_READY): tests/peers/package.json tests/peers/package-lock.json tests/peers/.npmrc
	cd tests/peers && npm ci
	touch $@
