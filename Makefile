# Two commands on a fresh machine: `make demo` and `make test`. `make TORCH=cpu` and `make TORCH=cuda` choose the build of torch
# (docs/install.md); without it what is installed stays, and at first the default package index chooses: a CUDA build for Linux on x86-64.
PYTHON ?= python3
VENV := .venv
TORCH ?= $(patsubst .installed%,%,$(notdir $(firstword $(wildcard $(VENV)/.installed*))))
INDEX_cpu := --index-url https://download.pytorch.org/whl/cpu
INDEX_cuda := --index-url https://download.pytorch.org/whl/cu130
# where the lock is for, by content; elsewhere by version
TESTED := $(if $(filter Linux-x86_64,$(shell uname -sm | tr ' ' -)),--require-hashes --no-deps -r requirements.lock,-r requirements.txt)
PIP := $(VENV)/bin/pip install --quiet --disable-pip-version-check
# about a minute of training on two cores
DEMO_DATA := data.path=built_in data.num_poses=10000 training.batch_size=128 logging.log_dir=demo/logs
RUN := OMP_WAIT_POLICY=PASSIVE $(VENV)/bin/python
ROOMS := body priors datamodules refinement configs figures benchmarks train evaluate refine pipeline clean score

.PHONY: demo test tests lint site setup clean
.DEFAULT_GOAL := demo

setup: $(VENV)/.installed$(TORCH)

# torch first: with it there, nothing else pulls in another build. Then what was tested, then this checkout as the package.
$(VENV)/.installed$(TORCH): requirements.txt requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(PIP) $(INDEX_$(TORCH)) $$(grep '^torch==' requirements.txt)
	$(PIP) $(TESTED)
	$(PIP) --no-deps --no-build-isolation --editable .
	rm -f $(VENV)/.installed*
	touch $@

demo: setup
	$(RUN) train.py --config gaussian_prior --override $(DEMO_DATA) \
	    logging.checkpoint_dir=demo/gaussian_prior training.max_epochs=5
	$(RUN) train.py --config joint_flow --override $(DEMO_DATA) \
	    logging.checkpoint_dir=demo/joint_flow training.max_epochs=3
	$(RUN) evaluate.py --checkpoint demo/gaussian_prior/best.ckpt demo/joint_flow/best.ckpt --output demo/evaluation
	$(RUN) refine.py --config refinement --override input.path=null prior.body=demo/joint_flow/best.ckpt
	$(RUN) evaluate.py --scene results/built_in --gt results/built_in_gt.npz --output demo/scene
	@echo "The table of the priors is above and in demo/evaluation/metrics.json; samples are in demo/evaluation/samples_1_joint_flow.png"
	@echo "Before and after the refinement: demo/scene/metrics.json and demo/scene/scene.png"

test: lint tests

# files in the order of tests/conftest.py, which leaves none that takes long to the end
tests: setup
	OMP_NUM_THREADS=1 $(RUN) -m pytest -n auto --dist loadfile --no-loadscope-reorder

# mypy finds packages by their folder's name, and a checkout may have any
lint: setup
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	mkdir -p $(VENV)/typing && ln -sfn ../.. $(VENV)/typing/pose_priors
	MYPYPATH=$(VENV)/typing $(VENV)/bin/mypy $(ROOMS:%=-p pose_priors.%)

# NO_MKDOCS_2_WARNING: the theme's notice of another program
site: setup
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build --strict

clean:
	rm -rf $(VENV) demo dist build site *.egg-info results/built_in results/built_in_gt.npz .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
	@echo "Checkpoints, logs and results of your own stay. Converted poses: pose-priors cache clear"
