# Every task of the project. `make serve` and `make test` need nothing but Python 3.11 and make.
PYTHON ?= python3
LAKE ?= ./lake
VENV := .venv
SCENARIOS := .venv-scenarios
FOREIGN := tests/scenarios/foreign
PY := $(VENV)/bin/python
PIP := $(PY) -m pip --disable-pip-version-check --quiet install --constraint constraints.txt

.PHONY: serve test check bench bench-tables s3tests scenarios-venv format clean

# Serve ./lake on 127.0.0.1:9000, status page on 127.0.0.1:9001.
serve: $(VENV)/.serve
	$(VENV)/bin/hosu serve $(LAKE)

# Run all tests; those that need a program PyPI does not have are skipped with the reason.
test: $(VENV)/.test
	$(PY) -m pytest -n 2 --dist worksteal $(TESTS)

# Programs of others that scenarios run, in an environment of their own; needs Maven for what Spark loads.
scenarios-venv: $(SCENARIOS)/.done

# Lint, format, types and layers.
check: $(VENV)/.check
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

# Measure against moto, a null server and the machine's limits: make bench BENCH="--quick".
bench: $(VENV)/.bench
	$(PY) -m benchmarks.objects $(BENCH)

# Measure tables against pypaimon, pypaimon-rust, delta-rs and DuckDB: make bench-tables BENCH="--quick".
bench-tables: $(VENV)/.test $(SCENARIOS)/.tables
	$(PY) -m benchmarks.tables $(BENCH)

# Run a local clone of ceph/s3-tests: make s3tests S3TESTS_DIR=../s3-tests
s3tests: $(VENV)/.test
	$(PY) scripts/s3tests.py --suite "$(S3TESTS_DIR)" $(ARGS)

format: $(VENV)/.check
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

$(PY):
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip --disable-pip-version-check --quiet install --upgrade "pip>=24"

$(VENV)/.serve: pyproject.toml constraints.txt | $(PY)
	$(PIP) --editable .
	touch $@

$(VENV)/.test: $(VENV)/.serve
	$(PIP) --editable ".[test]"
	touch $@

$(VENV)/.check: $(VENV)/.test
	$(PIP) --editable ".[test,check]"
	touch $@

$(VENV)/.bench: $(VENV)/.serve
	$(PIP) --editable ".[bench]"
	touch $@

$(SCENARIOS)/.done: $(FOREIGN)/requirements.txt $(FOREIGN)/pom.xml $(FOREIGN)/kafka-pom.xml constraints-scenarios.txt \
		$(FOREIGN)/flink-pom.xml $(FOREIGN)/paimon-pom.xml $(FOREIGN)/paimon-requirements.txt
	$(PYTHON) -m venv --clear $(SCENARIOS)
	$(SCENARIOS)/bin/python -m pip --disable-pip-version-check --quiet install --constraint constraints-scenarios.txt \
		--requirement $(FOREIGN)/requirements.txt
	mvn --quiet --batch-mode --file $(FOREIGN)/pom.xml dependency:copy-dependencies \
		-DincludeScope=runtime -DoutputDirectory=$(CURDIR)/$(SCENARIOS)/jars
	mvn --quiet --batch-mode --file $(FOREIGN)/kafka-pom.xml dependency:copy-dependencies \
		-DincludeScope=runtime -DoutputDirectory=$(CURDIR)/$(SCENARIOS)/kafka
	mvn --quiet --batch-mode --file $(FOREIGN)/flink-pom.xml package -Dlibraries=$(CURDIR)/$(SCENARIOS)/flink
	mvn --quiet --batch-mode --file $(FOREIGN)/paimon-pom.xml package -Dlibraries=$(CURDIR)/$(SCENARIOS)/paimon-tests
	$(PYTHON) -m venv $(SCENARIOS)/paimon
	$(SCENARIOS)/paimon/bin/python -m pip --disable-pip-version-check --quiet install \
		--requirement $(FOREIGN)/paimon-requirements.txt
	touch $@

$(SCENARIOS)/.tables: $(SCENARIOS)/.done
	$(SCENARIOS)/paimon/bin/python -m pip --disable-pip-version-check --quiet install pypaimon-rust==0.4.0
	touch $@

clean:
	rm -rf $(VENV) $(SCENARIOS) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
