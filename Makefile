# Each target creates the virtual environment when it is missing.

PYTHON ?= python3.11
# e.g. an index with CPU-only builds of torch, see the README
PIP_OPTIONS ?=

BIN := .venv/bin
RECIPE := recipes/PolSESS
FOLDER ?= quickstart

.PHONY: help setup quickstart test lint format clean

help:
	@echo "make setup       install everything into .venv"
	@echo "make quickstart  corpus, training, test, audio, figure: 10 minutes"
	@echo "make test        style and tests, as the continuous integration"
	@echo "make lint        style only"
	@echo "make format      put the style right"
	@echo "make clean       remove what quickstart made"

setup: .venv/installed

# pip 26.3 and later refuse orion 0.2.7, whose metadata name direct URLs.
.venv/installed: requirements.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet "pip==26.2"
	$(BIN)/python -m pip install $(PIP_OPTIONS) -r requirements.txt
	touch $@

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/yamllint --strict .

format: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

test: lint
	$(BIN)/python -m pytest

clean:
	rm -rf $(FOLDER)
