# Everything runs from .venv, which `make` builds and keeps up to date by itself.
# `make demo` installs what a user needs; all other targets also install the tools of developers.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BENCH ?= $(wildcard benchmarks/*.py)
BIN := .venv/bin
USER := .venv/.user
DEVELOPER := .venv/.developer
BROWSER := examples/browser/node_modules
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

.DEFAULT_GOAL := help
.PHONY: help setup system demo test check lint format bench clean

help:  ## this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1|\2/p' Makefile | awk -F'|' '{printf "%-14s %s\n", $$1, $$2}'

setup: $(DEVELOPER) system $(BROWSER)  ## virtual environment and packages for developers, system packages

demo: $(USER)  ## simulate ECGs, pretrain, probe against controls, write report.html
	$(BIN)/anyjepa demo

test: lint  ## style, types, import floors, and every test but the long ones
	$(PYTEST) -m "not long"

check: setup  ## the long tests (pytest's exit code 5: there are none)
	$(PYTEST) -m long || [ $$? -eq 5 ]

lint: setup  ## style, types and import floors
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright
	$(BIN)/lint-imports --no-logo

format: setup  ## rewrite the sources in the project's style
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: setup  ## every script of benchmarks/, or those in BENCH=...
	for script in $(BENCH); do $(BIN)/python $$script || exit 1; done

clean:  ## remove what make built, except runs/
	rm -rf .venv .pytest_cache .ruff_cache .hypothesis .import_linter_cache .coverage build src/*.egg-info $(BROWSER)
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(USER): pyproject.toml constraints.txt
	@[ -n "$(PYTHON)" ] || { echo "anyjepa needs Python 3.11 or later: pass one with make PYTHON=..."; exit 1; }
	[ -x $(BIN)/python ] || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet -c constraints.txt -e .
	@touch $@

$(DEVELOPER): $(USER)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[dev]"
	@touch $@

# onnxruntime-web for the example page and its tests; all else works without it.
$(BROWSER): examples/browser/package-lock.json
	@npm ci --prefix $(dir $@) --ignore-scripts --silent && touch $@ || \
	echo "Not installed (no npm, or no network): onnxruntime-web. Continuing without."

# Chromium shows the reports to the browser tests and g++ serves torch.compile; all else works without them.
system:
	@missing=; for tool in chromium g++; do command -v $$tool >/dev/null || missing="$$missing $$tool"; done; \
	[ -n "$$missing" ] || exit 0; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	echo "Installing with apt-get, as root:$$missing"; export DEBIAN_FRONTEND=noninteractive; \
	{ apt-get update && apt-get install -y --no-install-recommends $$missing; } >/dev/null 2>&1 && exit 0; fi; \
	echo "Not installed (no apt-get, not root, or no network):$$missing. Continuing without."
