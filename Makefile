# Every target is a few lines; what it does lives in the programs it calls.
SHELL := /bin/bash
PYTHON ?= python3
PY := .venv/bin/python
NAME ?= theblock
FILES ?= examples/starter

.PHONY: help up down clean test test-fast soak check bench bench-proving bench-device generate sim images cluster cluster-down browser

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

.venv/.run: requirements/run.txt tools/setup.sh
	@tools/setup.sh run $(PYTHON)

.venv/.dev: requirements/dev.txt tools/setup.sh
	@tools/setup.sh dev $(PYTHON)

up: .venv/.run ## bring the starter network up as local processes and say where to look
	@.venv/bin/theblock up -f $(FILES)

down: ## stop it; the state survives
	@if [ -x .venv/bin/theblock ]; then .venv/bin/theblock down; else echo "nothing is running here"; fi

clean: down ## stop it and remove its state
	@rm -rf build/up && echo "removed the state of the local network"

cluster: .venv/.dev ## bring the same network up on a real Kubernetes
	@$(PY) -m tools.cluster.deploy up --name $(NAME) -f $(FILES)

cluster-down: ## remove the cluster that `make cluster` made
	@if [ -x $(PY) ]; then $(PY) -m tools.cluster.deploy down --name $(NAME); else echo "nothing is running here"; fi

images: .venv/.dev ## build the OCI images
	@$(PY) -m tools.cluster images build

test: .venv/.dev ## every test, those on the real cluster included
	@tools/test.sh

test-fast: .venv/.dev ## the tests that need no cluster
	@tools/test-fast.sh

soak: .venv/.dev ## the further cases of tests that take long
	@$(PY) -m pytest -q -n 2 -m "soak and not cluster" && $(PY) -m pytest -v -m "soak and cluster"

check: .venv/.dev ## formatter, linter, types, import contracts, generated files, charts
	@tools/check.sh

generate: .venv/.dev ## write protos, stubs, schemas, CRDs, charts' roles
	@$(PY) -m tools.generate

sim: .venv/.dev ## a whole network in one process, from a seed
	@$(PY) -m theblock_node.sim --seed $(or $(SEED),1)

bench: .venv/.dev ## the benchmark table
	@$(PY) -m bench

bench-proving: .venv/.dev ## proving and verifying beside the twin, arkworks, gnark-crypto, snarkjs and groth16py
	@tools/peers.sh && $(PY) -m theblock_kernels && $(PY) -m bench.proving

bench-device: .venv/.dev ## proving on a CUDA device, where there is one
	@$(PY) -m theblock_kernels && $(PY) -m bench.device
