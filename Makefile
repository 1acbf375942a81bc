# Everything a contributor or CI does, one target each. `make` alone lists them.

VENV ?= .venv
CLUSTER ?= devcluster
CLUSTER_DIR ?= .cluster
PYTEST_ARGS ?=
N ?= 1000
SEEDS ?= 1 2 3
CHAOS_SECONDS ?= 60
# API servers that share out the integration tests; 0 is one, and one that is not ours takes no more.
CLUSTERS ?= $(if $(filter devcluster,$(CLUSTER)),2,0)
RELEASE ?= $(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' operator/agentid/_version.py)

PY := $(VENV)/bin/python
STAMP := $(VENV)/.installed
LOCK := $(PY) -m uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-header --no-annotate --upgrade

# In CI a skipped test is a failed run: a suite that quietly skips checks nothing.
ifeq ($(CI),true)
NO_SKIPS := -p tests.no_skips
endif
# A kubelet makes namespaces and mounts, which only root may.
NODE_TESTS := $(if $(filter 0,$(shell id -u)),test-node e2e)
PYTEST := $(PY) -m pytest $(NO_SKIPS) $(PYTEST_ARGS)

export CLUSTER CLUSTER_DIR
# For e2e, bench, website and tests, which are not installed; the package itself is.
export PYTHONPATH := $(CURDIR)

MAKEFLAGS += --no-builtin-rules
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: protos help dev fmt lint types test test-unit test-integration test-chaos test-node test-go bench bench-scale bench-trust bench-pods bench-fleet demo demo-down \
	chaos cluster-up cluster-down run screenshots crds chart image e2e e2e-full reference monitoring monitoring-test \
	dashboard-picture docs docs-serve gitops lock changelog clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-17s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo "  CLUSTER=devcluster|current|kind  which cluster (now: $(CLUSTER))"
	@echo "  FSYNC=1                          storage as durable as in production; slower"
	@echo "  NODE=1                           cluster-up with a real kubelet; needs root"
	@echo "  SEEDS='1 2 3'                    courses of faults for chaos"
	@echo "  PYTEST_ARGS='-k ledger -x'       handed to pytest"

dev: $(STAMP) ## Make .venv with everything locked by hash

$(STAMP): requirements/dev.txt pyproject.toml .ci/venv
	@.ci/venv $(VENV)
	@touch $@

fmt: $(STAMP) ## Format the code and mend what can be mended
	$(PY) -m ruff check --fix --exit-zero --quiet .
	$(PY) -m ruff format .

lint: $(STAMP) ## Style, layers, generated files
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(VENV)/bin/lint-imports --no-logo
	$(PY) -m agentid crds --check crds
	$(PY) -m website.reference --check
	$(PY) -m gitops --check
	$(PY) -m monitoring --check
	$(PY) -m e2e.chart --check
	$(PY) -m e2e.protos --check

types: $(STAMP) ## Strict types, tests included
	$(PY) -m mypy

test: lint types test-go test-unit test-integration test-chaos $(NODE_TESTS) ## Everything that CI runs

test-unit: $(STAMP) ## Without a cluster
	$(PYTEST) -m "not integration and not chaos and not node and not e2e" --numprocesses auto

test-integration: $(STAMP) ## Against a real API server, which the session starts
	$(PYTEST) -m "integration and not slow" --numprocesses $(CLUSTERS) --dist loadfile

test-chaos: $(STAMP) ## A short course of every fault, alone on the machine; `make chaos` has long ones
	$(PYTEST) -m chaos

test-go: $(STAMP) ## The Go of e2e/devcluster, goverify, gospiffe and gitopsview: format, vet, tests
	@$(PY) -m e2e test-go

test-node: $(STAMP) ## Against a real kubelet as well; needs root, may install Debian packages
	$(PYTEST) -m node

e2e: $(STAMP) ## Image, chart and agents on a real node; needs root, may install Debian packages
	$(PYTEST) -m "e2e and not slow"

e2e-full: $(STAMP) ## The same, and what a kubelet does in a quarter of an hour
	$(PYTEST) -m e2e

bench: $(STAMP) ## Measure N identities (default 1000) beside the bare API server
	@$(PY) -m bench --number $(N)

bench-scale: $(STAMP) ## Measure a whole life of 1,000, 3,000 and 10,000 identities
	@mkdir -p build
	@$(PY) -m bench.scale --output build/scale.json --picture build/scale.svg \
		$(if $(NUMBERS),--numbers $(NUMBERS))

bench-trust: $(STAMP) ## Measure issuing, revoking, serving and verifying
	@set -e; for part in issuing revocation_bytes responder admission signing issuing_service verifying \
		revoking incident; do \
		echo "# $$part"; $(PY) -m bench.$$part; done

bench-pods: $(STAMP) ## Measure how much later a pod starts that gets a certificate; needs root
	@$(PY) -m bench.pod_start

bench-fleet: $(STAMP) ## Measure 5,000 pods with identities on 50 nodes that kwok pretends
	@mkdir -p build
	@$(PY) -m bench.fleet --output build/fleet.json $(if $(PODS),--pods $(PODS))

demo: $(STAMP) ## The whole story on a real cluster: issue, verify, renew, revoke
	@$(PY) -m e2e.demo

demo-down: cluster-down ## End what the demo left running

run: $(STAMP) ## The operator in the foreground, as its own ServiceAccount
	@$(PY) -m e2e.run

chaos: $(STAMP) ## Every fault under a load, by SEEDS, each for CHAOS_SECONDS; are the promises kept?
	@$(PY) -m e2e.chaos --seeds $(SEEDS) --seconds $(CHAOS_SECONDS)

cluster-up: $(STAMP) ## Start a cluster; admin kubeconfig at .cluster/kubeconfig
	@$(PY) -m e2e up $(if $(FSYNC),--fsync) $(if $(NODE),--node)

cluster-down: $(STAMP) ## End it
	@$(PY) -m e2e down

screenshots: $(STAMP) ## Pictures of the inventory page for the docs; needs Chromium
	@$(PY) -m e2e.screenshots

reference: $(STAMP) ## Generate pages of docs/reference from the code
	$(PY) -m website.reference

docs: $(STAMP) ## The documentation as a site, in build/site; a broken link fails
	$(PY) -m properdocs build

docs-serve: $(STAMP) ## The same on http://127.0.0.1:8000, built anew with each change
	$(PY) -m properdocs serve --dev-addr 127.0.0.1:8000

gitops: $(STAMP) ## Generate what Argo CD reads from its scripts in gitops/argocd
	$(PY) -m gitops

monitoring: $(STAMP) ## Generate alert rules, dashboard and the schema of audit events
	$(PY) -m monitoring

monitoring-test: $(STAMP) ## Try each alert with promtool, from PATH or Debian's package
	@$(PY) -m monitoring.promtool

dashboard-picture: $(STAMP) ## Picture of the dashboard for the docs; needs Prometheus and Chromium
	@$(PY) -m monitoring.picture

crds: $(STAMP) ## Generate crds/ from the models; then comes `make chart`
	$(PY) -m agentid crds --output crds

protos: $(STAMP) ## Generate the messages that the node plugin speaks, from their protocol files
	$(PY) -m e2e.protos

chart: $(STAMP) ## Generate what is generated of helm/agentid, and manifests/ from it, by Helm
	@$(PY) -m e2e.chart

image: $(STAMP) ## Build the image into dist/; a cluster of ours with a node gets it
	@$(PY) -m e2e image

lock: $(STAMP) ## Resolve the dependencies anew, and lock them by hash
	$(LOCK) --output-file requirements/runtime.txt pyproject.toml --extra operator
	$(LOCK) --output-file requirements/dev.txt pyproject.toml --extra operator --group dev
	$(LOCK) --output-file requirements/examples.txt pyproject.toml --group examples
	$(LOCK) --output-file requirements/clients.txt --group clients
	$(LOCK) --output-file requirements/go.txt --group go

changelog: $(STAMP) ## Show what the fragments in changelog.d say together
	@$(PY) -m towncrier build --draft --version $(RELEASE)

clean: ## Remove what can be made again; a cluster is left alone
	rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
