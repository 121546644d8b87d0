# Everything from nothing but Python 3.11 (or later) and make. The first call of any target sets up `.venv`.

# The newest interpreter would do as well; 3.11 first, because it is the oldest one that we promise.
PYTHON ?= $(shell for name in python3.11 python3 python3.13 python3.12; do \
	"$$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo "$$name" && break; done)

BIN := .venv/bin
READY := .venv/.ready

# As many processes as there are cores, four at most; campaigns of chaos keep to one of them.
PYTEST := $(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadgroup

OLDEST := tests/conformance/test_postgres.py tests/postgres/test_plans.py tests/postgres/test_plans_of_pruning.py \
	tests/postgres/test_pruning_races.py tests/postgres/test_outbox.py tests/postgres/test_standing.py -k "not Sealed"

# Options to hand on: make demo ARGS="--help", make test ARGS="-k saga -x", make bench ARGS=...
ARGS ?=

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_NO_INPUT := 1

.DEFAULT_GOAL := help
# A failed command leaves no half-made target behind; one thing at a time, so that the output stays readable.
.DELETE_ON_ERROR:
.NOTPARALLEL:

.PHONY: help
help:
	@echo "make demo     see a purchase run, fail, and be undone"
	@echo "make test     run the tests"
	@echo "make check    everything that CI runs: format, lint, types, imports, tidy, package size, tests"
	@echo "make bench    measure"
	@echo "make chaos    workers in all kinds of trouble; ARGS=\"--minutes 60\" for an hour of it"
	@echo "make bugs     plant known bugs and see the tests find them"
	@echo "make format   format the code and fix what can be fixed"
	@echo "make clean    remove .venv, caches and builds"

$(READY): pyproject.toml
	@test -n "$(PYTHON)" || { \
		echo "Motet needs Python 3.11 or later, and none was found. Install one, or name it: make PYTHON=/path/to/python3.11" >&2; \
		exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Motet needs Python 3.11 or later; PYTHON=$(PYTHON) is not." >&2; \
		exit 1; }
	@echo "== environment: .venv from $(PYTHON) (the first time takes about 20 s)"
	@"$(PYTHON)" -m venv .venv
	@$(BIN)/python -m pip install --quiet --editable ".[dev]"
	@touch $@

.PHONY: demo
demo: $(READY)
	@$(BIN)/motet demo $(ARGS)

.PHONY: test
test: $(READY)
	@$(PYTEST) $(ARGS)

.PHONY: bench
bench: $(READY)
	@$(BIN)/python -m benchmarks $(ARGS)

.PHONY: chaos
chaos: $(READY)
	@$(BIN)/python -m tests.chaos $(ARGS)

.PHONY: bugs
bugs: $(READY)
	@$(BIN)/python -m tests.planted_bugs $(ARGS)

.PHONY: check check-format check-lint check-mypy check-pyright check-imports check-tidy check-size check-newest check-oldest check-tests
check: check-format check-lint check-mypy check-pyright check-imports check-tidy check-size check-newest check-oldest check-tests

check-format: $(READY)
	@echo "== format (ruff)"
	@$(BIN)/ruff format --check --quiet --output-format concise

check-lint: $(READY)
	@echo "== lint (ruff)"
	@$(BIN)/ruff check --quiet --output-format concise

check-mypy: $(READY)
	@echo "== types (mypy, strict)"
	@$(BIN)/mypy

check-pyright: $(READY)
	@echo "== types (pyright, strict)"
	@$(BIN)/pyright

check-imports: $(READY)
	@echo "== imports point one way (import-linter)"
	@$(BIN)/lint-imports --no-logo

check-tidy: $(READY)
	@echo "== tidy"
	@$(BIN)/python -m tools.tidy

check-size: $(READY)
	@echo "== package count and size, in a fresh environment"
	@$(BIN)/python -m tools.package_size

check-tests: $(READY)
	@echo "== tests"
	@$(PYTEST)

# A run that was begun under one Python may be replayed under another: the machine has to work alike under the newest.
check-newest: $(READY)
	@echo "== the machine, under the newest Python of this machine"
	@newest="$$($(BIN)/python -m tools.newest_python)"; case $$? in \
		0) "$$newest" -m pytest -q --no-header -r f -W "ignore:unclosed database:ResourceWarning" tests/unit ;; \
		3) echo "there is none newer than .venv's: left out" ;; \
		*) exit 1 ;; \
	esac

# The tests bring the newest PostgreSQL. What a store promises, and which plans are made, holds on the oldest as well.
check-oldest: $(READY)
	@echo "== the store, on the oldest PostgreSQL that is promised"
	@oldest="$$($(BIN)/python -m tools.oldest_postgres)"; case $$? in \
		0) MOTET_TEST_POSTGRES_BIN="$$oldest" $(PYTEST) -q --no-header -r f $(OLDEST) ;; \
		3) echo "there is none to be had: left out" ;; \
		*) exit 1 ;; \
	esac

.PHONY: format
format: $(READY)
	@$(BIN)/ruff check --fix --quiet || true
	@$(BIN)/ruff format

.PHONY: clean
clean:
	@rm -rf .venv .venv-newest .postgres-oldest build dist .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	@find . -name __pycache__ -type d -not -path '*/node_modules/*' -prune -exec rm -rf {} +
