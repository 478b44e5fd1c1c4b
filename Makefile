# Everything here needs Python >= 3.11 and nothing else; PostgreSQL is used by the tests where it is.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

# `make serve PORT=9000`
ifdef PORT
export WEBHOOK_PORT := $(PORT)
endif

.DEFAULT_GOAL := help
.PHONY: help serve demo test test-sqlite test-postgres test-processes lint format bench lock

help:
	@echo "make serve   set up what is missing and run the gateway (PORT=8644)"
	@echo "make demo    run a gateway of its own with an agent and events to look at"
	@echo "make test    run the tests, on SQLite and on PostgreSQL"
	@echo "make lint    check style, types and imports"
	@echo "make bench   measure receiving and sending"
	@echo "make lock    pin the requirements anew"

serve: $(VENV)/.requirements
	@$(BIN)/python manage.py setup --no-input
	@exec $(BIN)/python manage.py gateway

demo: $(VENV)/.requirements
	@exec $(BIN)/python manage.py demo

# All at a time: the tests of processes mostly wait. Each one's output comes when it is done.
test: $(VENV)/.requirements-dev
	@echo "Testing on SQLite, on PostgreSQL and with processes; that takes about ten minutes …"
	@$(MAKE) --no-print-directory --jobs=3 --output-sync=target \
		test-sqlite test-postgres test-processes

test-sqlite: $(VENV)/.requirements-dev
	$(BIN)/python -m pytest -m "not processes and not browser"

# Gateways that are killed, real browsers.
test-processes: $(VENV)/.requirements-dev
	$(BIN)/python -m pytest -m "processes or browser"

# The tests of processes and browsers are not repeated but for the main path.
test-postgres: $(VENV)/.requirements-dev
	$(BIN)/python -m tests.postgres $(BIN)/python -m pytest \
		-m "not browser and not processes or both_databases"

lint: $(VENV)/.requirements-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python manage.py makemigrations --check --dry-run

format: $(VENV)/.requirements-dev
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: $(VENV)/.requirements-dev
	$(BIN)/python -m bench.receive
	$(BIN)/python -m bench.send

LOCK = $(BIN)/pip-compile --quiet --generate-hashes --strip-extras --allow-unsafe \
	--no-emit-index-url --no-emit-find-links --no-emit-trusted-host

lock: $(VENV)/.requirements-dev
	CUSTOM_COMPILE_COMMAND="make lock" $(LOCK) --output-file=requirements.txt requirements.in
	CUSTOM_COMPILE_COMMAND="make lock" $(LOCK) --output-file=requirements-dev.txt requirements-dev.in

# The stamps say which requirements are installed.
$(VENV)/.requirements: requirements.txt | $(BIN)/python
	@echo "Installing what Hermes needs into $(VENV) …"
	@$(PIP) install --require-hashes -r requirements.txt
	@touch $@

$(VENV)/.requirements-dev: requirements.txt requirements-dev.txt | $(BIN)/python
	@echo "Installing what Hermes and its tests need into $(VENV) …"
	@$(PIP) install --require-hashes -r requirements.txt -r requirements-dev.txt
	@touch $@ $(VENV)/.requirements

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Hermes needs Python 3.11 or newer; $(PYTHON) is older. Try make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
		{ echo "Python's venv module is missing (Debian: apt-get install python3-venv)."; exit 1; }
