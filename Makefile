# `make demo`, `make test`: each does all its own set-up in .venv; nothing outside this folder is touched.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CORES ?= all
# bars and remaining time per rule on a terminal, plain lines elsewhere
LOGGER := $(shell test -t 1 && echo "--logger rich")

.DEFAULT_GOAL := help
.PHONY: help demo test lint docs format dag lock clean

help: ## what can be made
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

$(VENV)/.demo: pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "error: $(PYTHON) is older than 3.11; name a newer one: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 2; }
	@$(PYTHON) -m venv $(VENV) || { echo "error: $(PYTHON) can't make a virtual environment; on Debian: apt-get install python3-venv" >&2; exit 2; }
	@echo "Installing pinned dependencies into $(VENV) (a few minutes, once) ..."
	$(BIN)/python -m pip install -qq --disable-pip-version-check --constraint requirements.lock --editable .
	@touch $@

$(VENV)/.test: $(VENV)/.demo
	@echo "Installing what tests need ..."
	$(BIN)/python -m pip install -qq --disable-pip-version-check --constraint requirements.lock --editable '.[dev,docs,export,services]'
	@touch $@

demo: $(VENV)/.demo ## the whole factory at small scale: results/report.html, a model, Bragg vectors, strain maps
	$(BIN)/snakemake --cores $(CORES) $(LOGGER)
	@$(BIN)/snakemake --cores 1 --quiet all --report results/report.html
	@$(BIN)/python scripts/overview.py results

test: $(VENV)/.test ## the whole test suite
	$(BIN)/python -m pytest -n 2 --dist loadfile $(PYTEST)

lint: $(VENV)/.test ## ruff, mypy, snakefmt, snakemake --lint
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/snakemake --lint

docs: $(VENV)/.test ## the documentation site, in site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet
	@echo "site/index.html"

format: $(VENV)/.test ## put the code into the house's form
	$(BIN)/ruff check --fix
	$(BIN)/ruff format
	$(BIN)/snakefmt Snakefile workflow

dag: $(VENV)/.demo ## the graph of rules as a mermaid diagram
	@$(BIN)/snakemake --quiet all --rulegraph mermaid-js

lock: $(VENV)/.test ## pin what is installed now (after a change of pyproject.toml)
	$(BIN)/python -m pip freeze --exclude-editable | sed 's/+cpu$$//' > requirements.lock

clean: ## remove results (not the environment)
	rm -rf results .snakemake
