# ropeleak: every target sets up what it needs in .venv, from requirements.lock.
# Written for GNU make 3.81 and newer.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help predict test lint bench formulas ladder agreement validate validate-quick pages docs \
	ledger training figures pictures paper reproduce lock package clean

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PIP := $(BIN)/python -m pip --disable-pip-version-check
MODEL := llama-3.1-8b
BUDGET := small
TEX := needed

# PyTorch without CUDA: where its wheels are, on systems whose usual ones have it.
TORCH := torch==2.13.0
TORCH_INDEX := https://download.pytorch.org/whl/cpu

# The Python that makes .venv: `make test PYTHON=/path/to/python` chooses another.
ifndef PYTHON
PYTHON := $(shell for name in python3.13 python3.12 python3.11 python3 python3.14 python; do \
	if $$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; \
	then echo $$name; break; fi; done)
endif

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

predict: $(STAMP) ## predict the leak of a bundled model; writes its plot under out/
	@mkdir -p out
	@$(BIN)/ropeleak predict $(MODEL) --plot out/$(MODEL).png

test: $(STAMP) ## run the tests
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest -n auto -q

lint: $(STAMP) ## check style, formatting, types, layers, README and docs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy ropeleak tests tools benchmarks paper
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q tests/packaging/test_pages.py

bench: $(STAMP) ## time predictions and measurements, against PyTorch if it is there
	$(BIN)/python -m benchmarks

formulas: $(STAMP) ## write the formulas that the numbers are computed with anew from the theorems
	$(BIN)/python -m tools.formulas

ladder: $(STAMP) ## compare theories and Monte Carlo again (minutes); writes docs/ladder.md
	$(BIN)/python -m tools.ladder

agreement: $(STAMP) ## compare predictions and measurements of random stacks again (minutes); writes docs/agreement.md
	$(BIN)/python -m tools.agreement

validate: $(VENV)/.validate ## compare with transformers' models (an hour, resumable); writes docs/reality.md
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m tools.reality

validate-quick: $(VENV)/.validate ## the same in small, as tests (minutes)
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest -n auto -q tests/reality

pages: $(STAMP) ## run the commands and code of README and docs again and put in what they print
	$(BIN)/python -m tools.pages

docs: $(STAMP) ## build the documentation into out/site; a warning is an error
	$(BIN)/python -m tools.docs

ledger: $(STAMP) ## run the claims in full (about 20 minutes, resumable); their verdicts go into README and docs
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m tools.ledger

training: $(STAMP) ## train small decoders and measure them (2 hours on two processors, resumable)
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m paper.training run
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m paper.training measure
	$(BIN)/python -m paper.training summarise

figures: $(STAMP) ## draw the figures into out/figures, resumable; BUDGET=full for a paper's
	@$(BIN)/ropeleak figures --budget $(BUDGET)

pictures: $(STAMP) ## draw the README's picture and those that tests compare figures with anew
	$(BIN)/python -m tools.pictures

paper: $(STAMP) ## build the paper (minutes, resumable) under out/paper; BUDGET=full for all draws
	@OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m paper build --budget $(BUDGET) --tex $(TEX)

reproduce: $(STAMP) ## everything in the paper at full budget (ten minutes, resumable), with a manifest
	@OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m paper reproduce

lock: $(STAMP) ## resolve requirements.lock anew from pyproject.toml
	$(PIP) install --quiet uv
	$(BIN)/uv pip compile --universal --python-version 3.11 --extra dev --extra docs --upgrade --quiet \
		--custom-compile-command 'make lock' pyproject.toml -o requirements.lock

package: $(STAMP) ## build the sdist and the wheel, install the wheel elsewhere and run it
	rm -rf build dist
	$(BIN)/python -m build --no-isolation
	$(BIN)/python -m tools.check_package dist

clean: ## remove .venv and everything that was made
	rm -rf $(VENV) build dist out *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis \
		.import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(STAMP): $(VENV)/.locked pyproject.toml
	@$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.validate: $(STAMP)
	@$(BIN)/python -c 'import torch' 2>/dev/null || { echo 'installing PyTorch for CPUs'; \
		$(PIP) install --quiet --no-deps --extra-index-url $(TORCH_INDEX) $(TORCH); }
	@$(PIP) install --quiet --no-build-isolation --editable '.[validate]'
	@touch $@

$(VENV)/.locked: requirements.lock
	@test -n "$(PYTHON)" || { echo 'ropeleak needs Python 3.11 or newer and found none:' \
		'install it, or name it with make PYTHON=/path/to/python' >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo '$(PYTHON) cannot make a virtual' \
		'environment: install venv (Debian, Ubuntu: apt install python3-venv)' >&2; exit 1; }
	@echo 'setting up $(VENV) with $(PYTHON) (about a minute, once)'
	@$(PYTHON) -m venv --clear $(VENV)
	@$(PIP) install --quiet --requirement requirements.lock
	@touch $@
