# Everything a contributor or CI does, one target each. `make help` lists them.

VENV ?= .venv
CLUSTER ?= devcluster
CLUSTER_DIR ?= .cluster
PYTEST_ARGS ?=

PY := $(VENV)/bin/python
STAMP := $(VENV)/.installed
LOCK := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-header --no-annotate pyproject.toml

export CLUSTER CLUSTER_DIR
# The interpreter finds e2e and bench beside the package.
export PYTHONPATH := .

.DEFAULT_GOAL := help
.PHONY: help dev fmt lint types test test-unit test-integration \
	cluster-up cluster-down crds lock changelog clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

dev: $(STAMP) ## Make .venv with everything locked by hash

$(STAMP): requirements/dev.txt pyproject.toml
	@python=$$(sh e2e/python.sh) && "$$python" -m venv $(VENV)
	@echo "installing the locked dependencies into $(VENV)"
	@$(PY) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@$(PY) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(STAMP)

fmt: $(STAMP) ## Format the code and mend what can be mended
	$(VENV)/bin/ruff check --fix --exit-zero --quiet .
	$(VENV)/bin/ruff format .

lint: $(STAMP) ## Style, layers, generated files
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/lint-imports
	$(PY) -m agentid crds --check crds

types: $(STAMP) ## Strict types
	$(VENV)/bin/mypy

test: lint types test-unit test-integration ## Everything that CI runs

test-unit: $(STAMP) ## Pure code, no cluster
	$(PY) -m pytest -m "not integration and not node" -n 2 $(PYTEST_ARGS)

test-integration: $(STAMP) ## Against a real API server, which the session starts
	$(PY) -m pytest -m integration $(PYTEST_ARGS)

cluster-up: $(STAMP) ## Start a cluster; admin kubeconfig at .cluster/kubeconfig
	@$(PY) -m e2e up --dir $(CLUSTER_DIR)

cluster-down: $(STAMP) ## End it
	@$(PY) -m e2e down --dir $(CLUSTER_DIR)

crds: $(STAMP) ## Generate crds/ from the models
	$(PY) -m agentid crds --output crds

lock: $(STAMP) ## Resolve and lock the dependencies anew
	$(VENV)/bin/$(LOCK) --output-file requirements/runtime.txt
	$(VENV)/bin/$(LOCK) --group dev --output-file requirements/dev.txt

changelog: $(STAMP) ## Show what the fragments in changelog.d would print
	$(VENV)/bin/towncrier build --draft

clean: ## Remove what can be made again
	rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
