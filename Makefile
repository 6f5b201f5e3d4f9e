# Everything starts from Python 3.11 and make: the environment is made on first use and kept until the lock changes.
PYTHON ?= python3.11
BIN := .venv/bin
READY := .venv/.ready
# one thread a process: tiny networks gain nothing from threads, which wait for each other for minutes where other
# programs keep the cores busy, and results do not depend on the core count; tests are two processes, each of which
# takes whole files, whose fixtures are made once
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest tests -n 2 --dist loadfile --no-loadscope-reorder

.PHONY: axe labelstudio demo test tests lint fast slow check docs format strategies fuzz kill audit lock clean

demo: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/hybrid-al run quickstart

# all that CI does; types are checked beside the tests, in which the slow ones come first, so that no core ends idle
test: $(READY)
	$(MAKE) --jobs 2 lint tests

check: lint fast

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports --config setup.cfg
	$(BIN)/mypy

tests: $(READY)
	$(PYTEST)

fast: $(READY)
	$(PYTEST) -m "not slow"

slow: $(READY)
	$(PYTEST) -m slow

# the accessibility checker that tests of pages use, and a promptable segmenter (ONNX)
axe: tests/node_modules
tests/node_modules: tests/package-lock.json
	npm ci --prefix tests --no-audit --no-fund --silent
	touch tests/node_modules

# a server of Label Studio in an environment of its own (1 GB), for the test that plays a loop with it
labelstudio: .labelstudio/.ready
.labelstudio/.ready: tests/label_studio.lock $(READY)
	rm -rf .labelstudio && $(PYTHON) -m venv .labelstudio
	.labelstudio/bin/pip install --quiet --no-deps --requirement tests/label_studio.lock
	$(BIN)/python -m tests.helpers.label_studio_server
	touch .labelstudio/.ready

# the site of docs/ in site/; the variable silences a notice of the theme about its successor
docs: $(READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

# spoiled inputs of every format for HOURS hours; KILLS kills and SIGNALS other signals in all stages; see docs/damage.md
HOURS ?= 1
KILLS ?= 200
SIGNALS ?= 60
fuzz: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.fuzz.breaker --hours $(HOURS)

kill: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.fuzz.kills --kills $(KILLS) --signals $(SIGNALS)

# known vulnerabilities of the locked packages, where their database can be reached; says so where it cannot
audit:
	.ci/audit $(PYTHON)

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# the tables of docs/strategies.md, which a test holds against the code
strategies: $(READY)
	$(BIN)/python -m hybrid_al.query.catalogue

$(READY): requirements.lock setup.cfg
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --requirement requirements.lock
	$(BIN)/pip install --quiet --no-deps --editable .
	touch $(READY)

# exact versions of everything that the ranges in setup.cfg resolve to, in a fresh environment
lock:
	rm -rf .venv-lock && $(PYTHON) -m venv .venv-lock
	.venv-lock/bin/pip install --quiet --editable '.[dev]'
	.venv-lock/bin/pip freeze --exclude-editable | grep -v '^hybrid-al' > requirements.lock
	rm -rf .venv-lock

clean:
	rm -rf .venv .venv-audit runs site
