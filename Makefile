# What one can do here. `make` alone prints it.
# Needs GNU make, a POSIX shell and Python 3.11 or newer; all else is fetched from the package registries, locked by hash.

BIN   := .venv/bin
READY := .venv/ready
JOBS  ?= 2
# Override with `make setup PYTHON=/path/to/python`.
PYTHON ?=

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup demo test test-fast e2e check docs bench servers lock clean

help:  ## Print this help
	@awk 'BEGIN { FS = ":.*## " } /^[a-z0-9-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: $(READY)  ## Make .venv with the connector and its tools (the other targets do it themselves)

# pip is asked for nothing but the locked files, and compares every hash. The connector itself is installed from this
# folder, with the build tools of the same lock.
$(READY): requirements/dev.txt pyproject.toml
	@set -e; \
	for candidate in $(or $(PYTHON),python3 python3.13 python3.12 python3.11 python); do \
	  if "$$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then found=$$candidate; break; fi; \
	done; \
	if [ -z "$${found:-}" ]; then \
	  echo "make: no Python 3.11 or newer with the venv module was found (looked for: $(or $(PYTHON),python3, python3.13, python3.12, python3.11, python))." >&2; \
	  echo "      Install one (Debian, Ubuntu: apt-get install python3 python3-venv), or name it: make setup PYTHON=/path/to/python3.12" >&2; \
	  exit 1; \
	fi; \
	echo "Setting up .venv with $$("$$found" -c 'import platform; print("Python", platform.python_version())'); the first time takes a minute or two." >&2; \
	"$$found" -m venv .venv
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(READY)  ## Run 30 expense reports end to end in one process, three of them broken on purpose
	@$(BIN)/oaerp demo

test: $(READY)  ## Run all tests except those against the real systems
	$(BIN)/pytest tests -m "not e2e" -n $(JOBS) --dist loadfile

test-fast: $(READY)  ## Run the tests that need seconds, not minutes
	$(BIN)/pytest tests -m "not e2e and not slow" -n $(JOBS) --dist loadfile

e2e: $(READY)  ## Run a real OA, RabbitMQ, PostgreSQL and a real ERP together (installs them for the tests)
	$(BIN)/python -m tests.support.real install
	$(BIN)/pytest tests -m e2e

check: $(READY)  ## Lint, types, import rule, schemas and reference pages fresh, deployment files sound
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m contracts.schema --check
	$(BIN)/python -m contracts.schema --compare contracts/schema/baseline
	$(BIN)/python -m docs.generate --check
	$(BIN)/pytest -q tests/unit/docs tests/unit/deploy

docs: $(READY)  ## Write the generated reference pages and schemas anew
	$(BIN)/python -m contracts.schema
	$(BIN)/python -m docs.generate

bench: $(READY)  ## Measure the batch step beside a plain Celery task per message
	@$(BIN)/python -m benchmarks.side_by_side

servers: $(READY)  ## Install PostgreSQL, RabbitMQ and Redis from Debian's packages (as root), for tests and benchmarks
	$(BIN)/python -m tests.support.servers install

# `uv` writes locks that hold for every platform and Python at once; get it with `pip install uv`.
UV ?= uv
LOCK = UV_CUSTOM_COMPILE_COMMAND="make lock" $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url
lock:  ## Resolve the dependencies of pyproject.toml anew into requirements/*.txt (LOCK_ARGS=--upgrade for newer ones)
	@command -v $(UV) >/dev/null || { echo "make lock needs uv: pip install uv, or make lock UV=/path/to/uv" >&2; exit 1; }
	$(LOCK) $(LOCK_ARGS) pyproject.toml -o requirements/run.txt
	$(LOCK) $(LOCK_ARGS) pyproject.toml --group dev -o requirements/dev.txt
	$(LOCK) $(LOCK_ARGS) --group build -o requirements/build.txt
	$(LOCK) $(LOCK_ARGS) requirements/real-tryton.in -o requirements/real-tryton.txt
	$(LOCK) $(LOCK_ARGS) requirements/real-cubicweb.in -o requirements/real-cubicweb.txt

clean:  ## Remove .venv, caches and what the demo and the tests left
	rm -rf .venv .real var dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
