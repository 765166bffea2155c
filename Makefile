# Hetuflow. `make` lists the targets.
SHELL := /bin/sh
.DEFAULT_GOAL := help
VENV := .venv
BIN := $(VENV)/bin
# Tests wait for processes more than they compute, so there are more of them than cores.
WORKERS ?= 3
PYTHON ?= $(shell for name in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	if command -v $$name >/dev/null 2>&1 && $$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; \
	then echo $$name; break; fi; done)

.PHONY: help run test test-browser screenshots fuzz chaos lint format bench mutants record clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "Hetuflow needs Python 3.11 or later; set PYTHON=/path/to/python3" >&2; exit 1; }
	@echo "Creating $(VENV) with $(PYTHON) …"
	@$(PYTHON) -m venv $(VENV) >/dev/null 2>&1 || { rm -rf $(VENV); \
		$(PYTHON) -m venv --without-pip $(VENV) && \
		$(PYTHON) -m pip --python $(BIN)/python install -qq --disable-pip-version-check pip; }

$(VENV)/.installed: requirements.txt requirements-agent.txt | $(BIN)/python
	@echo "Installing what the server and the agent need …"
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -r requirements.txt
	@touch $@

$(VENV)/.installed-dev: requirements-dev.txt $(VENV)/.installed
	@echo "Installing what tests and linters need …"
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -r requirements-dev.txt
	@touch $@

run: $(VENV)/.installed ## Start everything on this machine; Ctrl-C stops it
	@exec $(BIN)/python manage.py standalone

test: $(VENV)/.installed-dev ## Run the tests on a PostgreSQL of their own
	@$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(ARGS)

test-browser: $(VENV)/.installed-dev ## Drive the admin with the Chromium of this machine
	@$(BIN)/python -m tests.browser $(ARGS)

screenshots: $(VENV)/.installed-dev ## Make the pictures in docs/screenshots anew, with the same Chromium
	@$(BIN)/python -m tests.browser --screenshots $(ARGS)

fuzz: $(VENV)/.installed-dev ## Try the REST API for longer, with a seed that is printed
	@$(BIN)/python -m tests.conformance $(ARGS)

chaos: $(VENV)/.installed-dev ## Let everything fail by chance under work, with a seed that is printed
	@$(BIN)/python -W ignore -m tests.e2e.chaos $(ARGS)

lint: $(VENV)/.installed-dev ## Check style, types, layers and migrations
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@HETUFLOW_DATA_DIR=$(VENV)/lint-data $(BIN)/mypy --no-incremental
	@$(BIN)/lint-imports
	@HETUFLOW_DATA_DIR=$(VENV)/lint-data $(BIN)/python -W ignore manage.py makemigrations --check --dry-run

format: $(VENV)/.installed-dev ## Format the code
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: $(VENV)/.installed-dev ## Measure what this machine can do, with Hetuflow and without
	@$(BIN)/python -m benchmarks $(ARGS)

mutants: $(VENV)/.installed-dev ## Make deliberate mistakes and see that the tests notice each
	@$(BIN)/python -m tests.mutants $(ARGS)

record: $(VENV)/.installed-dev ## Record a session of this version's agent and server, for later versions
	@$(BIN)/python -m pytest -q tests/recordings/record.py

clean: ## Remove the virtual environment and caches; data in .hetuflow stays
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
