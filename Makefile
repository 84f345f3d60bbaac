# Every target works in a bare checkout: it first installs what it needs, if that is missing or out of date.
#
#     make demo                       show each driver with a server that dies and comes back
#     make test                       run every check that CI runs
#     make test PYTHON=python3.13     use another interpreter (3.11 or later), in an environment of its own
#     make test JOBS=1                set the number of test processes
#     make bench MODES='websocket-*' ROUNDS=3    measure what a message costs (Linux; tests/benchmarks/__main__.py)
#     make fuzz TARGET=client SECONDS=600    search for inputs that break a property (Linux on x86-64)
#
# Node.js 20 or later with npm is needed, too, because the tests talk to real servers. On Windows, run make from Git Bash.

ifeq ($(OS),Windows_NT)
PYTHON ?= python
SCRIPTS := Scripts
else
PYTHON ?= python3
SCRIPTS := bin
endif

# Each Python version has its own environment, so that changing PYTHON does not rebuild one.
VERSION := $(shell $(PYTHON) -c 'import platform; print(platform.python_version())' 2>/dev/null)
ifeq ($(VERSION),)
$(error cannot run "$(PYTHON)"; choose an interpreter with "make PYTHON=...")
endif
VENV ?= .venv-$(VERSION)
BIN := $(VENV)/$(SCRIPTS)
PEERS := tests/peers/node_modules
JOBS ?= 3

# atheris has wheels for Linux on x86-64 only, so that it has an environment of its own.
FUZZ_VENV := .venv-fuzz-$(VERSION)
TARGET ?= client
SECONDS ?= 60

# The benchmark measures the installed package, which is neither editable nor beside the tools of the other targets.
BENCH_VENV := .venv-bench-$(VERSION)

VENV_READY := $(VENV)/.ready
FUZZ_READY := $(FUZZ_VENV)/.ready
BENCH_READY := $(BENCH_VENV)/.ready
BENCH_INSTALLED := $(BENCH_VENV)/.installed
PEERS_READY := $(PEERS)/.ready

.PHONY: test demo lint types docs unit tests bench fuzz format clean

test: lint types docs tests

demo: $(VENV_READY) $(PEERS_READY)
	$(BIN)/python -m tests.demo

lint: $(VENV_READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports

format: $(VENV_READY)
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

types: $(VENV_READY) $(PEERS_READY)
	$(BIN)/mypy
	node $(PEERS)/pyright/index.js --pythonpath $(BIN)/python

docs: $(VENV_READY)
	$(BIN)/sphinx-build -q -W --keep-going -b html docs docs/_build/html

unit: $(VENV_READY) $(PEERS_READY)
	$(BIN)/pytest tests/unit --cov --numprocesses $(JOBS) --dist worksteal

tests: unit
	$(BIN)/pytest --ignore tests/unit --numprocesses $(JOBS) --dist worksteal

bench: $(BENCH_INSTALLED) $(PEERS_READY)
	$(BENCH_VENV)/$(SCRIPTS)/python -m tests.benchmarks $(if $(MODES),--modes '$(MODES)') \
		$(if $(CLIENTS),--clients '$(CLIENTS)') $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(SCALE),--scale $(SCALE)) \
		$(if $(BASE),--base '$(BASE)') $(if $(OUT),--out '$(OUT)')

fuzz: $(FUZZ_READY)
	$(FUZZ_VENV)/$(SCRIPTS)/python -m fuzz.seeds
	$(FUZZ_VENV)/$(SCRIPTS)/python -m fuzz $(TARGET) $(SECONDS)

clean:
	rm -rf .venv-* $(PEERS) build dist docs/_build fuzz/work .coverage .coverage.* .hypothesis .import_linter_cache
	rm -rf .mypy_cache .pytest_cache .ruff_cache

# The stamp is written last, so that an interrupted installation is repeated.
$(VENV_READY): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

$(FUZZ_READY): pyproject.toml
	$(PYTHON) -m venv $(FUZZ_VENV)
	$(FUZZ_VENV)/$(SCRIPTS)/python -m pip install --quiet --disable-pip-version-check --editable '.[msgpack]' 'atheris>=3.0'
	touch $@

$(BENCH_READY): pyproject.toml
	$(PYTHON) -m venv $(BENCH_VENV)
	$(BENCH_VENV)/$(SCRIPTS)/python -m pip install --quiet --disable-pip-version-check '.[bench]'
	touch $@

# A wheel is built and installed, and compiled on the way.
$(BENCH_INSTALLED): $(BENCH_READY) $(shell find sansio_socketio drivers -name '*.py')
	$(BENCH_VENV)/$(SCRIPTS)/python -m pip install --quiet --disable-pip-version-check --no-deps --force-reinstall .
	touch $@

$(PEERS_READY): tests/peers/package.json tests/peers/package-lock.json tests/peers/.npmrc
	cd tests/peers && npm ci
	touch $@
