# The front door. Each target sets up what it needs from a bare Python 3.11.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
RUN := $(BIN)/bitsandnats

.PHONY: demo test lint bench docs clean help

help:
	@echo "make demo   train a small language model, measure it, write runs/demo/report.html"
	@echo "make test   all tests"
	@echo "make lint   style, types, import layers"
	@echo "make bench  speed ratios, written to docs/results/"
	@echo "make docs   the documentation site, built strictly into site/"

demo: $(VENV)/.installed
	$(RUN) demo

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n auto --dist loadfile

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check src tests benchmarks examples
	$(BIN)/ruff format --check src tests benchmarks examples
	$(BIN)/lint-imports
	$(BIN)/basedpyright

bench: $(VENV)/.installed-dev
	$(BIN)/python benchmarks/step_ratio.py
	$(BIN)/python benchmarks/kill.py

docs: $(VENV)/.installed-dev
	$(BIN)/mkdocs build --strict

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[all]"
	@touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	@# without its dependencies: it asks for torchvision, whose build must fit torch's, and never imports it
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-deps kronfluence
	@touch $@ $(VENV)/.installed

clean:
	rm -rf $(VENV) site build dist
