# Everything a contributor runs. Each target installs what it needs into .venv; `make help` lists them.

PY := .venv/bin/python
SOURCES := connectors models pipeline stages src/penstock/__init__.py src/penstock/errors.py \
	tests $(wildcard examples) $(wildcard benchmarks)

.DEFAULT_GOAL := help
.PHONY: help demo picture test test-fast chaos fuzz check fmt compose-test bench clean
.DELETE_ON_ERROR:

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | \
		while IFS="$$(printf '\t')" read -r name what; do printf '  make %-14s %s\n' "$$name" "$$what"; done

demo: .venv/.all ## Run the card-fraud example on the embedded default; SECONDS=20 makes it stop by itself
	@$(PY) -m examples.card_fraud $(if $(SECONDS),--seconds $(SECONDS))

picture: .venv/.all ## Make docs/demo.svg anew: the screen of `make demo` after 15 seconds
	@$(PY) -m examples.card_fraud --seconds 15 --picture docs/demo.svg

test: .venv/.dev ## Run all tests against real servers, started on free ports
	@$(PY) -m pytest $(ARGS)

test-fast: .venv/.dev ## Run the tests that take less than a few seconds each
	@$(PY) -m pytest -m "not slow" $(ARGS)

chaos: .venv/.dev ## Break everything for long: DEATHS=1000 kills of workers; SEED=1 repeats a run
	@DEATHS=$(or $(DEATHS),1000) CHAOS_SEED=$(or $(SEED),0) CHAOS_EXAMPLES=$(or $(EXAMPLES),1000) \
		$(PY) -m pytest tests/chaos --timeout 0 --log-cli-level=INFO $(ARGS)

fuzz: .venv/.dev ## Feed N=1000000 malformed events to all readers; SEED=1 repeats a run
	@FUZZ=$(or $(N),1000000) FUZZ_REAL=5000 FUZZ_SEED=$(or $(SEED),0) \
		$(PY) -m pytest tests/chaos/test_fuzz.py tests/chaos/test_strangers.py --log-cli-level=INFO $(ARGS)

check: .venv/.dev ## Check format, lint, types and the direction of imports
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/lint-imports --no-cache
	.venv/bin/mypy
	.venv/bin/pyright --pythonpath $(PY)
	$(PY) -W error -m compileall -q -f $(SOURCES)

fmt: .venv/.dev ## Format the code and mend what can be mended
	.venv/bin/ruff check --fix-only .
	.venv/bin/ruff format .

compose-test: .venv/.dev ## Bring compose.yaml up, push payments from the host, read decisions, take it down
	@$(PY) -m tests.compose $(ARGS)

bench: .venv/.bench ## Measure against peers and hand-written loops; ARGS="kafka --json" picks one
	@$(PY) -m benchmarks $(ARGS)

clean: ## Remove .venv and everything built
	rm -rf .venv build dist src/*.egg-info .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -not -path './.git/*' -prune -exec rm -rf {} +

.venv/.%: pyproject.toml constraints.txt .ci/environment
	@.ci/environment $*
