# `make demo` and `make test` are all a fresh machine needs besides Python 3.11 or newer.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: setup demo test test-slow lint bench bench-check soak docs clean

setup: $(VENV)/.done

$(VENV)/.done: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[test,dev,docs]"
	touch $@

# cups and digits are easy; pelicans, from one aerial photograph, are not: about half of their boxes are right
demo: setup
	rm -rf demo && mkdir demo
	$(BIN)/stn-coloc train sample_data/cups/images --out demo/cups
	$(BIN)/stn-coloc localise --model demo/cups --out demo/cups-boxes --overlay --crops
	$(BIN)/stn-coloc evaluate demo/cups-boxes/boxes.json sample_data/cups/boxes.json
	$(BIN)/stn-coloc export demo/cups-boxes/boxes.json --format yolo --label cup --split 80,20 --out demo/cups-yolo
	$(BIN)/stn-coloc train sample_data/digits/images --out demo/digits
	$(BIN)/stn-coloc localise --model demo/digits --out demo/digits-boxes --overlay
	$(BIN)/stn-coloc evaluate demo/digits-boxes/boxes.json sample_data/digits/boxes.json
	$(BIN)/stn-coloc track sample_data/clip/cup.mp4 --out demo/cup-track --video
	$(BIN)/stn-coloc evaluate demo/cup-track/tracks.json sample_data/clip/boxes.json
	$(BIN)/stn-coloc train sample_data/pelicans/images --out demo/pelicans
	$(BIN)/stn-coloc localise --model demo/pelicans --out demo/pelicans-boxes --overlay --crops
	$(BIN)/stn-coloc evaluate demo/pelicans-boxes/boxes.json sample_data/pelicans/boxes.json
	@echo
	@echo "The reports:   demo/cups/report.html   demo/digits/report.html   demo/pelicans/report.html"
	@echo "The pictures:  demo/cups-boxes/overlay/   demo/pelicans-boxes/overlay/"
	@echo "The video:     demo/cup-track/video.mp4"
	@echo "Correct them:  $(BIN)/stn-coloc review demo/pelicans-boxes"
	@echo "A data set:    demo/cups-yolo/data.yaml, to train a YOLO detector"
	@echo "Cups and digits are easy. Pelicans are real photographs: about half of their boxes are right, and high scores do not say which."

test: setup
	$(BIN)/python -m pytest -n auto -q

# the whole of what `make test` has a slice of: every module of the transformer library compiled and exported, runs exported
test-slow: setup
	$(BIN)/python -m pytest -n auto -q -m slow

lint: setup
	$(BIN)/ruff check stn_cli tests benchmarks sample_data docs
	$(BIN)/ruff format --check stn_cli tests benchmarks sample_data docs
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: setup
	$(BIN)/python -m benchmarks.digits
	$(BIN)/python -m benchmarks.photos
	$(BIN)/python -m benchmarks.photos_more
	$(BIN)/python -m benchmarks.gradient_photos
	$(BIN)/python -m benchmarks.masks
	$(BIN)/python -m benchmarks.video
	$(BIN)/python -m benchmarks.video_reading
	$(BIN)/python -m benchmarks.localise_speed
	$(BIN)/python -m benchmarks.onnx_runs
	$(BIN)/python -m benchmarks.large_folders
	$(BIN)/python -m benchmarks.scale
	$(BIN)/python -m benchmarks.million
	$(BIN)/python -m benchmarks.help_time
	$(BIN)/python -m benchmarks.kept
	$(BIN)/python -m benchmarks.busy
	taskset -c 0 $(BIN)/python -m benchmarks.localise_rivals
	$(BIN)/python -m benchmarks.review
	$(BIN)/python -m benchmarks.review_actions
	$(BIN)/python -m benchmarks.near_duplicates
	$(BIN)/python -m benchmarks.sampler
	$(BIN)/python -m benchmarks.aliasing
	$(BIN)/python -m benchmarks.warps
	for table in table1 table4 table5 volume rotated several pooling basis theta_forward parts house_numbers high_resolution oversampling segmentation; do $(BIN)/python -m benchmarks.paper.$$table || exit 1; done
	$(BIN)/python -m benchmarks.gpu.run_all --device cpu --quick
	$(BIN)/python -m benchmarks.pages

# which figures are older than the code that they measure
bench-check: setup
	$(BIN)/python -m benchmarks.check

# an hour; one part of it: make soak PARTS=kill
soak: setup
	$(BIN)/python -m benchmarks.soak $(PARTS) --page

# the documentation site; a warning ends it
docs: setup
	$(BIN)/python -m sphinx -W --keep-going -E -q -b html docs build/docs
	@echo "The site:  build/docs/index.html"

clean:
	rm -rf demo build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache
