# Every command does all that it needs: `make testnet` and `make test` work on a fresh machine with python3-venv and make.
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3.13 || command -v python3)
BIN := .venv/bin
ARGS ?=
WORKERS ?= auto
# One thread each: as many workers as cores take them all. Tests of one group run in one worker, one after another (tests/conftest.py).
PYTEST := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check install
SEEDS ?= 100
FIRST ?= 0

.PHONY: setup testnet test quick portability check lint types walls format bench house swarm clean

setup: .venv/.runtime
testnet: .venv/.runtime
	@$(BIN)/python run_node.py testnet $(ARGS)

test: check

check: lint types walls
	$(PYTEST) $(ARGS)

quick: lint types walls
	$(PYTEST) -m "not slow" --durations=5 --durations-min=1 $(ARGS)

portability: .venv/.develop
	$(BIN)/python -m tests.portability $(ARGS)

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

house: .venv/.runtime
	$(BIN)/python -m benchmarks.house $(ARGS)

swarm: .venv/.runtime
	$(BIN)/python -m node.lab.simulation.swarm --seeds $(SEEDS) --first $(FIRST) $(ARGS)

clean:
	rm -rf .venv build *.egg-info .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis

.venv/bin/python:
	@test -n "$(PYTHON)" || { echo "python 3.11 or newer is needed: apt-get install python3 python3-venv" >&2; exit 2; }
	@echo "setting up .venv, once: about a minute and a half, most of it for torch (some 200 MB to load, 750 MB on disk)"
	@$(PYTHON) -m venv .venv || { rm -rf .venv; echo "python's venv module is needed: apt-get install python3-venv" >&2; exit 2; }

# By hashes: all but torch, then torch, in its build for processors alone where pip knows a place that has it; see requirements/.
.venv/.runtime: .venv/bin/python constraints.txt pyproject.toml $(wildcard requirements/*.txt)
	@echo "  1 of 3: libraries, each by its hash"
	@$(PIP) --require-hashes --no-deps -r requirements/base.txt
	@echo "  2 of 3: torch for processors alone"
	@$(PIP) -qq --require-hashes --no-deps -r requirements/torch-cpu.txt || $(PIP) --require-hashes --no-deps -r requirements/torch.txt
	@echo "  3 of 3: kubrat itself"
	@$(PIP) --no-build-isolation -c constraints.txt -e .
	@echo "done"
	@touch $@

.venv/.develop: .venv/.runtime
	@echo "adding what the tests need, once"
	@$(PIP) --no-build-isolation -c constraints.txt -e ".[dev]"
	@touch $@
