# make demo    install, run the sweep, say where the report is
# make test    install, run the tests; name those that need what a clone does not have
# make budgets hold the paper's schedules to budgets.yaml
# make docs    write docs/cli.md from the commands
# make published count the published numbers again, for docs/published.md
# make check   lint, types, layer contracts, budgets, tests
# make slow    run the tests that take minutes each, which repeat others at larger sizes
# make gpu     all that a GPU is needed for, in at most ten minutes; the same command goes on
# make release build the wheel, install it into a clean environment, run all that the README shows
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: demo test check release slow gpu lint types layers budgets docs published format clean

demo: $(VENV)/.installed
	$(BIN)/proscale-bench sweep --out reports/demo

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n auto --dist loadgroup -rs

check: lint types layers budgets test

release: $(VENV)/.installed-dev
	PROSCALE_RELEASE=1 $(BIN)/python -m pytest tests/release

slow: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n auto --dist loadgroup -m slow tests

gpu: $(VENV)/.installed-dev
	$(BIN)/python benchmarks/gpu.py

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(VENV)/.installed-dev
	$(BIN)/mypy

layers: $(VENV)/.installed-dev
	$(BIN)/lint-imports --no-logo

budgets: $(VENV)/.installed
	$(BIN)/proscale-bench check budgets.yaml

docs: $(VENV)/.installed
	$(BIN)/python docs/make_cli.py

published: $(VENV)/.installed-dev
	$(BIN)/python docs/make_published.py

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean:
	rm -rf $(VENV) reports/demo

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "proscale-bench needs Python 3.10 or newer: make PYTHON=python3.12 demo")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml | $(VENV)/bin/python
	@echo "installing (torch is large: about a minute)"
	$(PIP) --editable .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml | $(VENV)/bin/python
	@echo "installing with the development tools (torch is large: about a minute)"
	$(PIP) --editable '.[dev]'
	@touch $@ $(VENV)/.installed
