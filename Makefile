# Every command does all that it needs: `make testnet` and `make test` work on a fresh machine with python3-venv and make.
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3.13 || command -v python3)
BIN := .venv/bin
ARGS ?=
SEEDS ?= 100
FIRST ?= 0

.PHONY: setup testnet test check lint types walls format bench swarm clean

setup: .venv/.runtime
testnet: .venv/.runtime
	@$(BIN)/python run_node.py testnet $(ARGS)

test: check

check: lint types walls
	$(BIN)/python -m pytest $(ARGS)

lint: .venv/.develop
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/.develop
	$(BIN)/mypy

walls: .venv/.develop
	$(BIN)/lint-imports

format: .venv/.develop
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: .venv/.runtime
	$(BIN)/python benchmarks/run_all.py $(ARGS)

swarm: .venv/.runtime
	$(BIN)/python -m node.simulation.swarm --seeds $(SEEDS) --first $(FIRST) $(ARGS)

clean:
	rm -rf .venv build *.egg-info .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis

.venv/bin/python:
	@test -n "$(PYTHON)" || { echo "python 3.11 or newer is needed: apt-get install python3 python3-venv" >&2; exit 2; }
	@echo "setting up .venv (once, about a minute and a half; torch is large)"
	@$(PYTHON) -m venv .venv || { rm -rf .venv; echo "python's venv module is needed: apt-get install python3-venv" >&2; exit 2; }

.venv/.runtime: .venv/bin/python constraints.txt pyproject.toml
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

.venv/.develop: .venv/.runtime
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@touch $@
