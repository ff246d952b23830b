# Two commands on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
# about a minute of training on two cores
DEMO_DATA := data.num_poses=10000 training.batch_size=128
RUN := OMP_WAIT_POLICY=PASSIVE $(VENV)/bin/python

.PHONY: demo test lint setup clean
.DEFAULT_GOAL := demo

setup: $(VENV)/.installed

# torch first: with it there, nothing else pulls in a larger build
$(VENV)/.installed: requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check $$(grep '^torch==' requirements.txt)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check -r requirements.txt
	touch $@

demo: setup
	$(RUN) train.py --config gaussian_prior --override $(DEMO_DATA) logging.checkpoint_dir=demo/gaussian_prior training.max_epochs=5
	$(RUN) train.py --config joint_flow --override $(DEMO_DATA) logging.checkpoint_dir=demo/joint_flow training.max_epochs=5
	$(RUN) evaluate.py --checkpoint demo/gaussian_prior/best.ckpt demo/joint_flow/best.ckpt --output demo/evaluation
	$(RUN) refine.py --config refinement --override input.path=null prior.body=demo/joint_flow/best.ckpt
	$(RUN) evaluate.py --scene results/built_in --gt results/built_in_gt.npz --output demo/scene
	@echo "The table of the priors is above and in demo/evaluation/metrics.json; samples are in demo/evaluation/samples_1_joint_flow.png"
	@echo "Before and after the refinement: demo/scene/metrics.json and demo/scene/scene.png"

test: setup lint
	$(RUN) -m pytest

lint: setup
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

clean:
	rm -rf $(VENV) demo results/built_in results/built_in_gt.npz .pytest_cache .ruff_cache
