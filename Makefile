# make demo   sets up and runs a real bulk job on the embedded model
# make test   sets up and runs the checks and every test that Python alone can run
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DEBIAN_PACKAGES := chromium chromium-driver curl libreoffice-writer-nogui redis-server systemd

.DEFAULT_GOAL := help
.PHONY: help demo test integration lint benchmarks lock clean

help: ## Shows this list.
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(READY): requirements.lock pyproject.toml
	@echo "Setting up $(VENV) (PyTorch is a download of about 3 GB) ..."
	@$(PYTHON) -m venv $(VENV) 2>/dev/null || python3 -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

demo: $(READY) ## Sorts 210 support tickets on the embedded model and shows the rows.
	@$(BIN)/classer run configs/demo.yaml --preview 12

lint: $(READY) ## ruff and mypy.
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

test: lint ## Checks, and every test that Python alone can run.
	$(BIN)/pytest -m "not integration" -n 2 --dist loadfile

integration: $(READY) ## Tests with real servers and runners, which it installs (Debian, root; Java 17, Maven).
	@dpkg -s $(DEBIAN_PACKAGES) >/dev/null 2>&1 || \
		(apt-get update -qq && apt-get install -y -qq --no-install-recommends $(DEBIAN_PACKAGES))
	@command -v npm >/dev/null || apt-get install -y -qq --no-install-recommends nodejs npm
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check apache-flink-libraries==1.19.3
	@$(BIN)/python -m runners.flink.jars > /dev/null
	@$(BIN)/python -m tests.servers.bigquery
	@$(BIN)/python -m tests.servers.storage > /dev/null
	@$(BIN)/python -m tests.servers.jars > /dev/null
	$(BIN)/pytest -m integration

benchmarks: $(READY) ## Prints the tables of tests/benchmarks/README.md (needs CLASSER_CORPUS, and what integration installs).
	$(BIN)/python -m tests.benchmarks.throughput
	$(BIN)/python -m tests.benchmarks.rows
	$(BIN)/python -m tests.benchmarks.repeats
	$(BIN)/python -m tests.benchmarks.quality
	$(BIN)/python -m tests.benchmarks.guarantee
	$(BIN)/python -m tests.benchmarks.documents
	$(BIN)/python -m tests.benchmarks.warehouse
	$(BIN)/python -m tests.benchmarks.serve
	$(BIN)/python -m tests.benchmarks.streams
	$(BIN)/python -m tests.benchmarks.cluster

lock: ## Pins again what users install (needs uv).
	uv pip compile --universal --python-version 3.11 --extra dev pyproject.toml --output-file requirements.lock

clean: ## Removes what was set up and written.
	rm -rf $(VENV) configs/out .pytest_cache .mypy_cache .ruff_cache
