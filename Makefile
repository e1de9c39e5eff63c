# One door: a person, and .ci/run, use these verbs. Everything is installed into this folder.
BIN := .venv/bin
RUN := .venv/.installed
DEV := .venv/.installed-dev
LOCKS := requirements.lock requirements-dev.lock requirements-uv.lock

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(RUN) ## start everything, summarise and shorten ARCHITECTURE.md, stop
	@$(BIN)/precis demo

up: $(RUN) ## start everything and stay; Ctrl-C stops it
	@$(BIN)/precis up

status: $(RUN) ## what runs, where it answers, what is queued
	@$(BIN)/precis status

setup: $(RUN) ## install, and write config.toml with the files derived from it
	@$(BIN)/precis setup

test: $(DEV) ## all tests that can run here; PRECIS_REQUIRE_ALL=1 fails where one cannot
	$(BIN)/pytest -rs -n 2

fast: $(DEV) ## the unit tests alone, in less than a minute
	$(BIN)/pytest -q -n 2 -m "not sql and not services and not stack and not ollama and not costly"

lint: $(DEV) ## ruff and mypy
	$(BIN)/ruff check
	$(BIN)/mypy

chaos: $(DEV) ## the queue under fault (MINUTES=30 SEED=), then neighbours; FAULTS="kill" or SCENARIOS="log-ins" alone
	$(if $(SCENARIOS),,$(BIN)/python -m tests.chaos $(if $(MINUTES),--minutes $(MINUTES)) $(if $(SEED),--seed $(SEED)) $(FAULTS))
	$(if $(FAULTS),,$(BIN)/python -m tests.neighbour $(SCENARIOS))

bench: $(DEV) ## measure, beside the goals; writes tests/bench/results.json
	$(BIN)/python -m tests.bench

sql: $(DEV) ## write sql/functions into the migrations, and sql/schema.sql
	$(BIN)/python sql/chain.py fold
	$(BIN)/python -m tests.sql.schema_dump

migration: $(DEV) ## from 0.1.0 on: a migration NAME=verb_object with the functions that have changed
	$(BIN)/python sql/chain.py new $(NAME)

lock: $(DEV) ## resolve the dependencies anew into the lock files
	$(COMPILE) pyproject.toml deploy/local/build.in --extra local -o requirements.lock
	$(COMPILE) pyproject.toml deploy/local/build.in --extra local --extra dev -c requirements.lock -o requirements-dev.lock
	echo uv | $(COMPILE) - -o requirements-uv.lock

clean: ## remove what was made here, the database with it; config.toml stays
	@if [ -e .precis/lock ] && ! flock --nonblock .precis/lock true; then echo "Stop the stack first."; exit 1; fi
	@if [ -L .precis/postgres ]; then rm -rf "$$(readlink -f .precis/postgres)"; fi
	rm -rf .venv .precis .env .mypy_cache .ruff_cache .pytest_cache .hypothesis

COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate

$(RUN): pyproject.toml requirements.lock requirements-uv.lock deploy/local/install
	@deploy/local/install requirements.lock
	@touch $@

$(DEV): pyproject.toml $(LOCKS) deploy/local/install
	@deploy/local/install requirements-dev.lock
	@touch $(RUN) $@

.PHONY: help demo up status setup test fast lint chaos bench sql migration lock clean
