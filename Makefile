# Everything starts from Python 3.11 and make: the environment is made on first use and kept until the lock changes.
PYTHON ?= python3.11
BIN := .venv/bin
READY := .venv/.ready
DEMO := runs/quickstart-s0

.PHONY: demo test fast slow check format lock clean

demo: $(READY)
	$(BIN)/hybrid-al run quickstart

test: check slow

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --config setup.cfg
	$(BIN)/pytest tests -m "not slow"

fast: $(READY)
	$(BIN)/pytest tests -m "not slow"

slow: $(READY)
	$(BIN)/pytest tests -m slow

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

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
	rm -rf .venv runs
