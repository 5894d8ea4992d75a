# Python and make are all a fresh machine needs: every target sets itself up in .venv first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test check format docs bench bench-sources clean

demo: $(STAMP)  ## a real dump to a trained, evaluated encoder
	$(BIN)/pairmill run recipes/demo.yaml

test: $(STAMP)
	$(BIN)/pytest -q -n 2 --dist loadfile

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(STAMP)  ## write the table of docs/sources.md anew
	$(BIN)/python -m pipelines.sources_page docs/sources.md

# SOURCES_DATA: a folder of corpora in their own layouts; benchmarks/bench_sources.py says which
bench: $(STAMP)
	$(BIN)/python benchmarks/bench_extract_filter.py
ifdef SOURCES_DATA
	$(BIN)/python benchmarks/bench_redecide.py $(SOURCES_DATA)
	$(BIN)/python benchmarks/bench_filter_workers.py $(SOURCES_DATA)
	$(BIN)/python benchmarks/bench_dedup.py $(SOURCES_DATA) --pairs 1000000
else
	@echo "bench_redecide, bench_filter_workers and bench_dedup were left out: make bench SOURCES_DATA=FOLDER runs them"
endif

bench-sources: $(STAMP)
	$(BIN)/python benchmarks/bench_sources.py $(SOURCES_DATA)

clean:
	rm -rf $(VENV) runs build dist *.egg-info

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $(STAMP)
