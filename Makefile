# What can be done with this repository; `make help` lists it. Needs make, a shell and Python 3.11
# or newer. Everything is installed into .venv, from the hashed locks, and nowhere else.

BIN := .venv/bin
UV = $(BIN)/uv
COMPILE = $(UV) pip compile --universal --python-version 3.11 --generate-hashes \
	--no-header --no-annotate --quiet
AS_DEV := --constraint requirements-dev.txt

.DEFAULT_GOAL := help
.PHONY: help demo test chaos failover upgrade fuzz mutants check audit image lock clean run-env dev-env bench soak providers

help: ## List the targets.
	@sed -n 's/^\([a-z]*\):.*## /make \1	/p' Makefile

demo: run-env ## Run a campaign against the simulated provider (FLOWER=1: with Flower).
	$(BIN)/dispatcher demo $(if $(FLOWER),--flower)

# More tests at a time than processors, since many of them mostly wait. What fails beside another is
# run once more alone: clocks on busy processors can be late. What is wrong fails again.
# Compiled modules are kept, whatever the environment says: hundreds of processes are started.
test: export PYTHONDONTWRITEBYTECODE =
test: dev-env ## Run the tests (ARGS="…": arguments for pytest).
ifdef ARGS
	$(BIN)/pytest $(ARGS)
else
	$(BIN)/pytest -n 7 || $(BIN)/pytest -n 0 --last-failed --last-failed-no-failures none
endif

failover: dev-env ## Kill a primary in mid-campaign, and judge (ARGS=postgres: PostgreSQL's, else Redis').
	$(BIN)/python -m tests.failover $(ARGS)

upgrade: dev-env ## Upgrade from the version before in mid-campaign, and judge (ARGS="--store postgres").
	$(BIN)/python -m tests.upgrade $(ARGS)

chaos: dev-env ## Kill processes for ten minutes, and judge (ARGS="--seconds 60 --seed 1").
	$(BIN)/python -m tests.chaos $(ARGS)

fuzz: dev-env ## Mutate documented answers before every parser for SECONDS (600).
	FUZZ_SECONDS=$(or $(SECONDS),600) $(BIN)/pytest --timeout=0 tests/providers/test_fuzz.py

mutants: dev-env ## Try mutants of what keeps the promises; CHECK=1 fails below 95 % (ARGS="--most 20").
	CHECK=$(CHECK) $(BIN)/python -m tests.mutants $(ARGS)

check: dev-env ## Check format, lint, types, and which package imports which.
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy --any-exprs-report .mypy_cache/any
	$(BIN)/python -m tests.house .mypy_cache/any/any-exprs.txt
	$(BIN)/lint-imports

audit: ## Audit dependencies, licences, code and deploy/ (needs the network); writes dist/sbom.json.
	@./deploy/audit

image: ## Build the image with docker, podman or buildah (ARGS="--build-arg …").
	@./deploy/build-image $(ARGS)

lock: dev-env ## Write the locks anew from pyproject.toml.
	$(COMPILE) pyproject.toml --extra embedded --extra telemetry --extra dev --group build --group installer --output-file requirements-dev.txt
	$(COMPILE) pyproject.toml $(AS_DEV) --output-file requirements.txt
	$(COMPILE) pyproject.toml --extra embedded --group build --group installer $(AS_DEV) --output-file requirements-embedded.txt
	$(COMPILE) --group pyproject.toml:build $(AS_DEV) --output-file requirements-build.txt
	$(COMPILE) --group pyproject.toml:audit --output-file requirements-audit.txt

bench: dev-env ## Measure beside floors and naive peers in two minutes (FULL=1: twenty; CHECK=1: misses fail).
	CHECK=$(CHECK) $(BIN)/python -m tests.benchmarks $(if $(FULL),--full) $(ARGS)

soak: dev-env ## A steady load for half an hour: nothing may grow (SECONDS=300: five minutes).
	$(BIN)/python -m tests.benchmarks.soak --seconds $(or $(SECONDS),1800) $(ARGS)

providers: dev-env ## The demo's campaign at every provider: export and ledger, row by row (ARGS="--only smsnoc").
	$(BIN)/python -m tests.benchmarks.providers $(ARGS)

clean: ## Remove .venv and the tools' caches.
	rm -rf .venv .venv-audit dist .hypothesis .import_linter_cache .mutants .mypy_cache .pytest_cache .ruff_cache
	find dispatcher workers tests -name __pycache__ -type d -prune -exec rm -rf {} +

# The newest Python that really runs (a version manager's shim may not) and can make a venv.
FIND_PYTHON = found=; \
	for python in $(PYTHON) python3.13 python3.12 python3.11 python3; do \
		if "$$python" -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))' \
			2>/dev/null; then found=$$python; break; fi; \
	done; \
	if [ -z "$$found" ]; then \
		echo 'No Python 3.11 or newer that can make a venv was found.' >&2; \
		echo 'Install one (Debian, Ubuntu: apt install python3 python3-venv) or name it:' >&2; \
		echo '  make PYTHON=/path/to/python3 $(MAKECMDGOALS)' >&2; \
		exit 1; \
	fi

# A stamp holds a sum of the folder, the locks and pyproject.toml that .venv was made from: the same
# again needs no network and no time, anything else a new .venv.
SUM = sum=$$({ pwd; cat pyproject.toml requirements.txt requirements-dev.txt; } | cksum)
IS_MADE = { [ "$$(cat .venv/made-for-$(1) 2>/dev/null)" = "$$sum" ] && $(BIN)/python -c ''; }
PIP = $(BIN)/python -m pip --disable-pip-version-check
# uv takes 3 s where pip takes 50. It reads nothing of what pip is configured with: the index, its
# certificates and folders of wheels are handed on. If it cannot reach them, pip installs.
UV_SETTINGS = $(PIP) config list | sort -r | sed -n \
	-e 's/^[^=]*\.index-url=/export UV_DEFAULT_INDEX=/p' \
	-e 's/^[^=]*\.extra-index-url=/export UV_INDEX=/p' \
	-e 's/^[^=]*\.find-links=/export UV_FIND_LINKS=/p' \
	-e 's/^[^=]*\.cert=/export SSL_CERT_FILE=/p'
# The lock's hashes say what is taken, whichever index has it.
DOWNLOAD = sed -n '/^uv==/,/[^\\]$$/p' $(1) > .venv/installer.txt && \
	$(PIP) install --quiet --no-compile --require-hashes --requirement .venv/installer.txt && \
	{ ( eval "$$($(UV_SETTINGS))"; UV_INDEX_STRATEGY=unsafe-best-match \
		$(UV) pip install --quiet --python $(BIN)/python --require-hashes --requirement $(1) ) || \
	{ echo 'uv could not; pip is slower' && \
	$(PIP) install --quiet --no-compile --require-hashes --requirement $(1); }; }
# Compiled on all processors. What compileall does not understand is for another Python. Half of
# what is installed is never imported as source, or only while it installs.
UNCOMPILED = phonenumbers/geodata/|/(pip|setuptools|mypyc?)/
INSTALL = echo "installing $(1) into .venv (once), with $$("$$found" --version)" && \
	$(call DOWNLOAD,$(1)) && \
	{ $(BIN)/python -m compileall -q -j 0 -x '$(UNCOMPILED)' .venv/lib >/dev/null || true; } && \
	$(PIP) install --quiet --no-index --no-deps --no-build-isolation --editable .

run-env:
	@$(SUM); if $(call IS_MADE,run); then exit 0; fi; \
	if [ -e .venv/made-for-dev ]; then exec $(MAKE) --no-print-directory dev-env; fi; \
	$(FIND_PYTHON); \
	"$$found" -m venv --clear .venv && $(call INSTALL,requirements-embedded.txt) && \
	echo "$$sum" > .venv/made-for-run

dev-env:
	@$(SUM); if $(call IS_MADE,dev); then exit 0; fi; \
	$(FIND_PYTHON); \
	if $(call IS_MADE,run); then :; else "$$found" -m venv --clear .venv; fi && \
	$(call INSTALL,requirements-dev.txt) && \
	echo "$$sum" > .venv/made-for-run && echo "$$sum" > .venv/made-for-dev
