# Every target sets up what it needs; the first call makes .venv from pyproject.toml.
PYTHON ?= python3
BIN := .venv/bin
export OMP_NUM_THREADS ?= 1

.PHONY: setup demo test test-long check docs bench clean

setup: .venv/.done

.venv/.done: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "saliscope needs Python 3.11 or newer: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 1; }
	@# Debian parts venv from Python; as root it is fetched, else you are told.
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { [ "$$(id -u)" = 0 ] && apt-get -qq update && apt-get -qq install -y python3-venv; } \
	  || { echo "Python's venv is missing: apt-get install python3-venv"; exit 1; }
	@$(PYTHON) -m venv .venv
	@echo "Installing into .venv (a few minutes the first time) ..."
	@$(BIN)/pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

demo: setup  ## explain what the package ships, and print the page to open
	@$(BIN)/saliscope demo --out demo-out --overwrite

test: setup  ## all tests but the long ones
	@$(BIN)/pytest -n 2 --dist worksteal -m "not long"

test-long: setup  ## minutes each, up to 20 GiB of memory
	@$(BIN)/pytest -m long

check: setup  ## lint, format, types, import contracts, surface
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/pytest -n 0 tests/surface

docs: setup  ## write docs/reference/ anew from the code
	@$(BIN)/python docs/make_reference.py

bench: setup  ## ratios against peers, counted and timed; needs the extra 'parity'
	@$(BIN)/pip install --quiet --disable-pip-version-check -e '.[dev,parity]'
	@$(BIN)/python benchmarks/start.py
	@$(BIN)/python benchmarks/cams.py

clean:
	rm -rf .venv demo-out build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
