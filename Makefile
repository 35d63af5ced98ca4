# Each target creates the virtual environment when it is missing.

PYTHON ?= python3.11
# e.g. an index with CPU-only builds of torch, see the README
PIP_OPTIONS ?=

# The quickstart's curriculum
FIRST_STAGE := {epoch: 1, variants: [C, R], lr_scheduler: False}
LAST_STAGE := {epoch: 5, variants: [C, R, S, SE, SER], lr_scheduler: True}

BIN := .venv/bin
RECIPE := recipes/PolSESS
FOLDER ?= quickstart
DEMONSTRATION ?= demonstration

.PHONY: help setup quickstart demonstration test test-browser lint format \
	bench-mamba bench-evaluate soak clean

help:
	@echo "make setup          install everything into .venv"
	@echo "make quickstart     corpus, training, test, audio, figure: 10 to 15 minutes"
	@echo "make demonstration  four models, three seeds, compared: about 1 hour"
	@echo "make test           style and tests, as the continuous integration"
	@echo "make test-browser   looks at a report in chromium: 5 minutes at first"
	@echo "make lint           style only"
	@echo "make format         put the style right"
	@echo "make bench-mamba    Mamba on the CPU against others: 7 minutes, 12 GB"
	@echo "make bench-evaluate evaluate.py against metrics one by one: 6 minutes"
	@echo "make soak           kill and resume fifty small runs: 3 minutes"
	@echo "make clean          remove what quickstart and demonstration made"

setup: .venv/installed

# pip 26.3 and later refuse orion 0.2.7, whose metadata name direct URLs.
.venv/installed: requirements.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet "pip==26.2"
	$(BIN)/python -m pip install $(PIP_OPTIONS) -r requirements.txt
	touch $@

# A ConvTasNet small enough to be trained on two cores in about ten minutes.
quickstart: setup
	$(BIN)/python tools/make_corpus.py $(FOLDER)/corpus \
		--train 1000 --valid 40 --test 60 --seed 0
	$(BIN)/python $(RECIPE)/separation/train.py \
		$(RECIPE)/hparams/convtasnet.yaml \
		--data_folder $(FOLDER)/corpus --output_folder $(FOLDER)/run \
		--precision fp32 --num_workers 0 --save_audio 3 \
		--kernel_size 64 --encoder_filters 128 --bottleneck_channels 64 \
		--block_channels 128 --blocks 6 --repeats 2 \
		--number_of_epochs 12 --batch_size 4 --training_segment 2 \
		--lr 0.002 --lr_patience 0 \
		--curriculum "[$(FIRST_STAGE), $(LAST_STAGE)]"
	$(BIN)/python tools/plot_separation.py $(FOLDER)/run/audio \
		--output $(FOLDER)/separation.png

# Two runs at a time, of one thread each.
demonstration: setup
	$(BIN)/python tools/make_corpus.py $(DEMONSTRATION)/corpus \
		--train 1000 --valid 60 --test 100 --seed 0
	OMP_NUM_THREADS=1 $(BIN)/python tools/run_series.py \
		tools/series/demonstration.yaml \
		--data_folder $(DEMONSTRATION)/corpus \
		--output_folder $(DEMONSTRATION)/results --devices cpu cpu
	for run in $(DEMONSTRATION)/results/*/[0-9]*; do \
		$(BIN)/python $(RECIPE)/separation/evaluate.py $$run \
			--save_audio 2 || exit 1; \
	done
	$(BIN)/python tools/compare_runs.py $(DEMONSTRATION)/results \
		--baseline convtasnet --output $(DEMONSTRATION)/comparison
	$(BIN)/python tools/report.py $(DEMONSTRATION)/results \
		--baseline convtasnet --output $(DEMONSTRATION)/report.html

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/yamllint --strict .

format: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench-mamba: setup
	$(BIN)/python -m pip install --quiet -r tools/bench/requirements.txt
	$(BIN)/python tools/bench/bench_mamba.py

bench-evaluate: setup
	$(BIN)/python tools/bench/bench_evaluate.py

# With one thread, as the tests: the same run needs the same rounding.
soak: setup
	OMP_NUM_THREADS=1 PYTHONPATH=$(RECIPE)/separation:tests \
		$(BIN)/python tests/killed_runs.py 50

test: lint
	$(BIN)/python -m pytest

# Needs Debian's chromium: apt-get install chromium
test-browser: setup
	$(BIN)/python -m pip install --quiet -r tests/browser/requirements.txt
	$(BIN)/python tests/browser/check_report.py browser

clean:
	rm -rf $(FOLDER) browser
