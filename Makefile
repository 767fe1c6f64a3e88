# Every target sets up what it needs; the first call makes .venv from pyproject.toml.
PYTHON ?= python3
BIN := .venv/bin
export OMP_NUM_THREADS ?= 1

.PHONY: setup demo test test-long check docs mutants gallery bench sweep table zoo clean

setup: .venv/.done

.venv/.done: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "saliscope needs Python 3.11 or newer: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 1; }
	@# Debian parts venv from Python; as root it is fetched, else you are told.
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { [ "$$(id -u)" = 0 ] && apt-get -qq update && apt-get -qq install -y python3-venv; } \
	  || { echo "Python's venv is missing: apt-get install python3-venv"; exit 1; }
	@$(PYTHON) -m venv .venv
	@echo "Installing into .venv (a few minutes the first time) ..."
	@$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
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

mutants: setup  ## break the code once for each row of tests/mutants/*.toml: every one must be killed
	@$(BIN)/python tests/mutants/run.py

gallery: setup  ## every method on the same picture and volume: gallery-out/index.html
	@$(BIN)/python docs/make_gallery.py

# One call, so that the peers cannot move torch to a build with CUDA.
.venv-bench/.done: pyproject.toml constraints.txt Makefile
	@$(PYTHON) -m venv .venv-bench
	@echo "Installing the peers into .venv-bench ..."
	@.venv-bench/bin/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]' 'torchvision==0.28.*' \
	  captum==0.9.0 grad-cam==1.5.7 torchcam==0.5.0 zennit==0.5.1 quantus==0.6.0 timm==1.0.31 einops==0.8.1 monai==1.6.1
	@touch $@

bench: .venv-bench/.done  ## side by side with the peers: benchmarks/RESULTS.md, about 40 minutes
	@.venv-bench/bin/python benchmarks/run.py

sweep: .venv-bench/.done  ## the layer that `auto` takes in each architecture of timm and torchvision: benchmarks/SWEEP.md
	@.venv-bench/bin/python benchmarks/sweep.py --write

table: .venv-bench/.done  ## every method on networks of timm, torchvision and MONAI: benchmarks/METHODS_BY_NETWORKS.md, about 20 minutes
	@.venv-bench/bin/python benchmarks/methods_by_networks.py --write

STAGES ?=
ONLY ?=
zoo: setup  ## train the shipped networks again and compare: hours; STAGES=hippocampus_segmentation, ONLY=chest-plain
	@$(BIN)/python recipes/zoo.py $(STAGES) --only "$(ONLY)"

clean:
	rm -rf .venv .venv-bench demo-out gallery-out out build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
