# One word per task. Needs Python 3.11+ and make; everything else goes into a virtual environment:
# the active one, or .venv, which is created here.

PYTHON ?= python3
EXTRAS ?= test
VENV := $(if $(VIRTUAL_ENV),$(VIRTUAL_ENV),.venv)
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.myscheduler-$(EXTRAS)
PACKAGES := $(patsubst %/__init__.py,%,$(wildcard */__init__.py))
# The package lies at the root, so its name is that of this link, not of the checkout's folder.
LINK := .mypy_cache/path

# For make sim.
SEEDS ?= 1000
FIRST ?= 0
FAULTS ?= all

MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
.PHONY: help venv demo demo-stdlib test check style format types imports tidy pytest fuzz sim mutants faults bench bench-check wheel docs compose-config test-docker clean

help:  ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' Makefile

venv: $(INSTALLED)  ## Create .venv (or use the active one) and install the project into it, editable

$(INSTALLED): pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "make: $(PYTHON) is missing; name another: make PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "make: $$($(PYTHON) --version) is too old, 3.11 is needed; name another: make PYTHON=python3.12"; exit 1; }
	@test -x $(BIN)/python || { echo "creating $(VENV)"; $(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
		echo "make: no venv module; on Debian and Ubuntu: apt-get install python3-venv"; exit 1; }; }
	@echo "installing into $(VENV)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[$(EXTRAS)]'
	@touch $@

demo: $(INSTALLED)  ## One graph, many schedulers: synchronous, threads, processes, clusters; and how long each takes
	@$(BIN)/python examples/schedulers.py

demo-stdlib: $(INSTALLED)  ## A cluster on this machine reads Python's standard library
	@$(BIN)/python examples/stdlib.py

test: style types imports pytest  ## Everything that must pass: check, then all tests

check: style types imports tidy  ## What needs no running: style, types, import directions, tidiness

style: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(INSTALLED)  ## Let ruff mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(INSTALLED)
	@mkdir -p $(LINK) && ln -sfn ../.. $(LINK)/myscheduler
	@echo "mypy: the package, tests, benchmarks and examples"
	@MYPYPATH=$(LINK) $(BIN)/mypy --explicit-package-bases $(addprefix $(LINK)/myscheduler/,__init__.py $(PACKAGES)) \
		$$(find tests benchmarks examples -name '*.py')

imports: $(INSTALLED)
	$(BIN)/lint-imports --cache-dir .import_linter_cache

tidy: $(INSTALLED)
	$(BIN)/python -m pytest -q tests/tidy

pytest: $(INSTALLED)
	$(BIN)/python -m pytest

SECONDS ?= 60
fuzz: $(INSTALLED)  ## Feed nonsense to everything that reads bytes of others: make fuzz SECONDS=600
	@$(BIN)/python -c 'import atheris' 2>/dev/null || $(BIN)/python -m pip install --quiet --disable-pip-version-check 'atheris>=2.3' \
		|| echo "make: atheris cannot be installed here, so the cases are made blindly"
	@nice -n 19 $(BIN)/python -m tests.fuzz --seconds $(SECONDS)

sim: $(INSTALLED)  ## Clusters in virtual time with random faults, on all processors: make sim SEEDS=10000 FIRST=0 FAULTS=all
	@$(BIN)/python -m tests.sim.farm --seeds $(SEEDS) --first $(FIRST) --faults $(FAULTS)

mutants: $(INSTALLED)  ## Break our own code in many ways, one at a time: how many of them the simulator finds
	@$(BIN)/python -m tests.sim.mutants --seeds 2000

# For make faults.
ROWS ?= all
faults: $(INSTALLED)  ## Break real processes and networks (the latter as root): make faults ROWS=B1,C5 REPEATS=10
	@$(BIN)/python -m tests.faults --rows $(ROWS) $(if $(REPEATS),--repeats $(REPEATS))

bench: $(INSTALLED)  ## Measure against distributed, Ray and concurrent.futures, as far as they are installed
	$(BIN)/python -m benchmarks.compare

bench-check: $(INSTALLED)  ## Has a task become dearer for client, scheduler or worker? Counted, so no quiet machine is needed
	@$(BIN)/python -m benchmarks.check $(if $(RECORD),--record)

wheel: $(INSTALLED)  ## Build the wheel and the source distribution into dist/
	$(BIN)/python -m build --outdir dist

docs:  ## Build the documentation into build/docs; a warning is an error
	@$(MAKE) venv EXTRAS=docs
	$(BIN)/python -m sphinx --fresh-env --fail-on-warning --keep-going --quiet docs build/docs
	@echo "open build/docs/index.html"

compose-config: $(INSTALLED)  ## Validate docker-compose.yml; needs no engine
	$(BIN)/python -m pytest -q tests/packaging/test_compose.py

test-docker: $(INSTALLED)  ## Bring docker-compose.yml up for real; starts an engine if there is none (root, Debian), or skips
	@$(BIN)/python -m tests.deploy_docker

clean:  ## Remove what was built; .venv stays
	rm -rf build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
