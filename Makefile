# Each target works alone on a fresh clone. `make help` lists them.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
PY := .venv/bin/python
PORT ?= 8080
DATA ?= .jishi
PROTOS := $(shell find protos -name '*.proto' 2>/dev/null)

.PHONY: help setup gen demo up test lint format faults bench bench-catalog bench-orders clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' Makefile | expand -t 20

setup: .venv/.installed gen/.generated ## build .venv and gen/, nothing else

gen: .venv/.installed ## generate gen/ from protos/
	@$(PY) deploy/generate_protos.py && touch gen/.generated

.venv/.installed: requirements/runtime.txt requirements/embedded.txt requirements/build.txt requirements/test.txt
	@sh deploy/setup_venv.sh

# The folders are listed too, so that a deleted proto is noticed.
gen/.generated: .venv/.installed deploy/generate_protos.py $(PROTOS) $(sort $(dir $(PROTOS)))
	@$(PY) deploy/generate_protos.py && touch $@

demo: setup ## the whole story on a throw-away embedded stack (PRODUCTS=file.csv for your own products)
	@.venv/bin/jishi demo $(if $(PRODUCTS),--products '$(PRODUCTS)')

up: setup ## keep the embedded stack running (PORT=8080, DATA=.jishi)
	@.venv/bin/jishi up --port $(PORT) --data '$(DATA)' --sandbox

lint: setup ## ruff, mypy, import-linter, buf, no machine paths
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check --quiet .
	@.venv/bin/mypy
	@.venv/bin/lint-imports
	@.venv/bin/buf lint
	@$(PY) tests/contract/tracked_text.py

format: setup ## put every file in the style that lint asks for
	@.venv/bin/ruff check --fix --quiet . ; .venv/bin/ruff format --quiet .

test: lint ## lint, then the whole suite; COVERAGE=on, as in CI: fails below 85 % branch coverage of services/
	@sh tests/run.sh

faults: setup ## every fault test: processes, database and broker killed under load
	@KILLS=20 $(PY) -m pytest -q tests/faults

bench: setup ## figures: JSON lines and a table
	@$(PY) -m tests.bench

bench-catalog: setup ## figures of the catalog at full size: half an hour, some 10 GB of disk
	@$(PY) -m tests.bench import catalog hot growth memory search --imported 50000

bench-orders: setup ## figures of orders and of the ledger at full size: half an hour, some 10 GB of disk
	@$(PY) -m tests.bench orders ledger stored

clean: ## remove what make made (.venv, gen/, caches); data in .jishi/ stays
	rm -rf .venv gen jishi.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .coverage .coverage.* htmlcov
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
