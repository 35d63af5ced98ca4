# Each target creates the virtual environment when it is missing.

PYTHON ?= python3.11
# e.g. an index with CPU-only builds of torch, see the README
PIP_OPTIONS ?=

# The quickstart's curriculum
FIRST_STAGE := {epoch: 1, variants: [C, R], lr_scheduler: False}
LAST_STAGE := {epoch: 5, variants: [C, R, S, SE, SER], lr_scheduler: True}

# The search's demonstration: what its final validation trains with
SWEEP_STAGES := [{epoch: 1, variants: [C, R], lr_scheduler: False}, \
	{epoch: 3, variants: [R, SR, S, SE, ER, E, SER], lr_scheduler: True}]

BIN := .venv/bin
RECIPE := recipes/PolSESS
FOLDER ?= quickstart
SWEEP_FOLDER ?= sweep-demo
DEMONSTRATION ?= demonstration
CURVES ?= learning-curves

.PHONY: help setup setup-mamba corpus quickstart demonstration sweep-demo \
	learning-curves asr-demo conversation-demo test coverage \
	test-browser fuzz lint format bench-separate bench-step \
	bench-neighbours gpu-check soak clean

help:
	@echo "make setup          install everything into .venv"
	@echo "make setup-mamba    torch 2.10 and mamba-ssm instead, for a GPU"
	@echo "make quickstart     corpus, training, test, audio, figure: 6 minutes"
	@echo "make demonstration  four models, three seeds, compared: about 1 hour"
	@echo "make learning-curves  what more mixtures, and remixing them, are worth: 2 hours"
	@echo "make sweep-demo     a hyperparameter search, to its winner: 10 CPU minutes"
	@echo "make asr-demo       the quickstart, and a recogniser for it: 25 minutes"
	@echo "make conversation-demo  the quickstart, conversations, their transcripts: 20 minutes"
	@echo "make test           style, types, tests: as the continuous integration"
	@echo "make coverage       the tests, and which lines they run"
	@echo "make test-browser   looks at a report and a dashboard in chromium: 3 CPU minutes"
	@echo "make fuzz           damaged inputs of all kinds: 5 minutes"
	@echo "make lint           style and types only"
	@echo "make format         put the style right"
	@echo "make bench-separate speed and memory of separate.py: 11 minutes"
	@echo "make bench-step     a training step, SpeechBrain's blocks and ours: 20 minutes, 12 GB"
	@echo "make bench-neighbours  a training step on a busy machine: 3 minutes, 7 GB"
	@echo "make gpu-check      models and commands on an NVIDIA GPU: 5 minutes"
	@echo "make soak           kill and resume fifty small runs: 3 minutes"
	@echo "make clean          remove what quickstart, demonstrations and test-browser made"

setup: .venv/installed

# pip 26.3 and later refuse orion 0.2.7, whose metadata name direct URLs. Its
# setup.py uses names that Python 3.12 dropped: build_orion/ gives them back.
.venv/installed: requirements.txt pyproject.toml \
		$(RECIPE)/sweeps/sampler/pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet "pip==26.2" setuptools==80.10.2 wheel
	PYTHONPATH="$(CURDIR)/$(RECIPE)/sweeps/build_orion" $(BIN)/python -m pip \
		install $(PIP_OPTIONS) --no-build-isolation --no-deps orion==0.2.7
	$(BIN)/python -m pip install $(PIP_OPTIONS) -r requirements.txt
	touch $@

# torch 2.14 brings CUDA 13, torch 2.10 CUDA 12, and both their cuDNN lie in
# nvidia/cudnn: what is there goes first.
setup-mamba: setup
	$(BIN)/python -m pip uninstall --quiet --yes torch torchaudio triton \
		$$($(BIN)/python -m pip freeze | grep -o "^nvidia-[^=]*")
	$(BIN)/python -m pip install $(PIP_OPTIONS) -r requirements-gpu.txt

# Goes on with what is there, and leaves a corpus that is whole.
corpus: setup
	$(BIN)/python tools/make_corpus.py $(FOLDER)/corpus \
		--train 1000 --valid 40 --test 60 --seed 0

# A ConvTasNet small enough to be trained on two cores within minutes.
quickstart: corpus
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

# A recogniser for the quickstart's voices: ten CPU minutes.
$(FOLDER)/recogniser: | setup
	$(BIN)/python tools/asr_demo.py $@

# What the separation is worth to it.
asr-demo: quickstart $(FOLDER)/recogniser
	$(BIN)/python tools/asr_eval.py $(FOLDER)/run \
		--data_folder $(FOLDER)/corpus --speechbrain $(FOLDER)/recogniser \
		--output $(FOLDER)/asr_eval

# Conversations of the quickstart's voices: streams, transcripts, a picture, and
# what all of it is worth.
conversation-demo: CONVERSATIONS = $(FOLDER)/conversations
conversation-demo: quickstart $(FOLDER)/recogniser
	test -f $(CONVERSATIONS)/conversations.csv || \
		$(BIN)/python tools/make_conversations.py $(CONVERSATIONS) \
		--overlap 0 0.2 --count 5 --minutes 1 --background -30 -25
	$(BIN)/python $(RECIPE)/separation/separate.py $(FOLDER)/run \
		$(CONVERSATIONS)/*.wav --speakers $(CONVERSATIONS) \
		--output $(FOLDER)/separated
	$(BIN)/python tools/transcribe.py $(FOLDER)/separated \
		--speechbrain $(FOLDER)/recogniser --output $(FOLDER)/transcripts
	cat $(FOLDER)/transcripts/overlap20_000.txt
	$(BIN)/python tools/plot_separation.py \
		$(FOLDER)/separated/overlap20_000.json \
		--output $(FOLDER)/conversation.png
	$(BIN)/python tools/asr_eval.py $(FOLDER)/run \
		--conversations $(CONVERSATIONS) \
		--speechbrain $(FOLDER)/recogniser \
		--output $(FOLDER)/conversation_eval

# Two trials of one thread each at a time.
sweep-demo: SWEEP = $(BIN)/python tools/sweep.py
sweep-demo: KEPT = --output $(SWEEP_FOLDER)/sweeps \
	--sweeps $(RECIPE)/sweeps/demo $(SWEEP_FOLDER)/stages
sweep-demo: RUN_OPTIONS = --data_folder $(SWEEP_FOLDER)/corpus --workers 2
sweep-demo: setup
	$(BIN)/python tools/make_corpus.py $(SWEEP_FOLDER)/corpus \
		--train 160 --valid 24 --test 8 --seed 0
	mkdir -p $(SWEEP_FOLDER)/stages
	$(SWEEP) run dprnn stage1 $(KEPT) $(RUN_OPTIONS)
	$(SWEEP) next dprnn stage1 $(KEPT) --write $(SWEEP_FOLDER)/stages --force
	$(SWEEP) run dprnn stage2 $(KEPT) $(RUN_OPTIONS)
	$(SWEEP) next dprnn stage2 $(KEPT) --write $(SWEEP_FOLDER)/stages --force
	$(SWEEP) run dprnn stage3a $(KEPT) $(RUN_OPTIONS)
	$(SWEEP) run dprnn stage3b $(KEPT) $(RUN_OPTIONS)
	$(SWEEP) select dprnn $(KEPT) --n 2 --min_diversity 0.5
	$(SWEEP) validate dprnn $(KEPT) --data_folder $(SWEEP_FOLDER)/corpus \
		--seeds 42 123 --devices cpu cpu --number_of_epochs 10 \
		--curriculum "$(SWEEP_STAGES)"
	$(SWEEP) status dprnn $(KEPT)

# Two runs at a time, of one thread each.
demonstration: setup
	$(BIN)/python tools/make_corpus.py $(DEMONSTRATION)/corpus \
		--train 1000 --valid 60 --test 100 --seed 0
	$(BIN)/python tools/run_series.py \
		tools/series/demonstration.yaml \
		--data_folder $(DEMONSTRATION)/corpus \
		--output $(DEMONSTRATION)/results --devices cpu cpu
	for run in "$(DEMONSTRATION)"/results/*/[0-9]*; do \
		$(BIN)/python $(RECIPE)/separation/evaluate.py "$$run" \
			--variants SER SR ER R SE S E C --save_audio 2 || exit 1; \
	done
	$(BIN)/python tools/compare_runs.py $(DEMONSTRATION)/results \
		--baseline convtasnet --output $(DEMONSTRATION)/comparison
	$(BIN)/python tools/report.py $(DEMONSTRATION)/results \
		--baseline convtasnet --output $(DEMONSTRATION)/report.html \
		--figures $(DEMONSTRATION)/figures

# What stored mixtures and dynamic mixing are worth, with three seeds each.
learning-curves: setup
	$(BIN)/python tools/make_corpus.py $(CURVES)/corpus \
		--train 1000 --valid 40 --test 200 --duration 1 --seed 0
	$(BIN)/python tools/run_series.py \
		tools/series/learning_curves.yaml \
		--data_folder $(CURVES)/corpus \
		--output $(CURVES)/results --devices cpu cpu
	$(BIN)/python tools/plot_learning_curves.py $(CURVES)/results \
		--output $(CURVES)/learning_curves.png

# Without its cache: where an import is sorted depends on other files, too.
lint: setup
	$(BIN)/ruff format --no-cache --check .
	$(BIN)/ruff check --no-cache .
	$(BIN)/mypy
	$(BIN)/yamllint --strict .
	$(BIN)/codespell

format: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench-separate: setup
	$(BIN)/python tools/bench/bench_separate.py

bench-step: setup
	$(BIN)/python tools/bench/bench_step.py
	$(BIN)/python tools/bench/bench_step.py --models convtasnet \
		--compile
	$(BIN)/python tools/bench/bench_step.py --models sepformer \
		--duration 60 --transformer_layers 1 --dual_path_blocks 1

bench-neighbours: setup
	$(BIN)/python tools/bench/bench_neighbours.py

gpu-check: setup
	$(BIN)/python tools/gpu_check.py

# With one thread, as the tests: the same run needs the same rounding.
soak: setup
	OMP_NUM_THREADS=1 PYTHONPATH=$(RECIPE)/separation:tests \
		$(BIN)/python tests/killed_runs.py 50

# In two processes; a module's tests in one of them, since they share what they
# have trained.
TEST := $(BIN)/python -m pytest -n 2 --dist loadfile

test: lint
	$(TEST)

coverage: setup
	$(TEST) --cov --cov-report=term-missing:skip-covered

# At least 2000 cases, other ones each time. A failure tells how to repeat it.
fuzz: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/fuzz \
		--hypothesis-profile=fuzz

# Needs Debian's chromium: apt-get install chromium
test-browser: setup
	$(BIN)/python -m pip install --quiet -r tests/browser/requirements.txt
	$(BIN)/python tests/browser/check_report.py browser
	$(BIN)/python tests/browser/check_dashboard.py browser

clean:
	rm -rf $(FOLDER) $(DEMONSTRATION) $(CURVES) $(SWEEP_FOLDER) browser
