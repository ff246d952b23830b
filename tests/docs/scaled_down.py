"""How what pages say is made small, so that they take seconds: words after its own, and constants of the project meanwhile."""

from __future__ import annotations

import importlib
from contextlib import AbstractContextManager, ExitStack
from typing import Any
from unittest.mock import patch

from test_train import TINY

from pose_priors.benchmarks.refinement_symmetries import IMAGES
from pose_priors.refinement.refiner import Stage5Refiner
from pose_priors.refinement.solve.config import RefinementConfig

NUM_ITERATIONS = 4
"""Of a refinement, in all."""
_TRAINING = [
    "training.max_epochs=1",
    "training.batch_size=64",
    "logging.logger=csv",
    "trainer.enable_progress_bar=false",
    "trainer.accelerator=cpu",
    "trainer.check_val_every_n_epoch=1",
]
_MOTION_FLOW = [
    "data.num_clips=24",
    "model.hidden=16",
    "model.num_blocks=1",
    "model.num_heads=2",
    "model.num_steps=2",
    "model.regression_hidden=0",
]
_POSES = ["data.num_poses=400"]
_ALSO = {
    "flow_matching": ["model.num_networks=2"],
    "joint_flow": ["training.smoothed_share=0"],  # a mixture of few poses is chosen by none
    "global_flow": ["training.smoothed_share=0"],
}
# the sample of 10,000 and the neighbours of each pose are what evaluation takes long for
CONSTANTS: dict[str, Any] = {
    "priors.evaluation.report._MAX_SAMPLES": 200,
    "datamodules.synthetic.scenes.builtin._NUM_FRAMES": 24,
    "datamodules.synthetic.scenes.builtin._HIDDEN": 4,
    "benchmarks.refinement_symmetries.IMAGES": dict([*IMAGES.items()][:1]),
    "benchmarks.priors.kernel_fits._RESTARTS": 1,
    "benchmarks.priors.data._MAX_FITTED": 300,
    "benchmarks.priors.data._MAX_SCORED": 30,
    "benchmarks.priors.completion._NUM_PROPOSALS": 16,
    "benchmarks.priors.completion._NUM_STEPS": 1,
    "benchmarks.priors.tasks.completion._NUM_POSES": 3,
    "benchmarks.priors.tasks.completion._NUM_DRAWS": 2,
    "benchmarks.priors.tasks.likelihood._CONDITIONED_POSES": 3,
    "benchmarks.priors.tasks.likelihood._DRAWS": 8,
    "benchmarks.priors.tasks.posteriors._NUM_POSES": 3,
    "benchmarks.priors.tasks.posteriors._NUM_TOGETHER": 3,
}
"""By their names in the project. What a constant decides is how much is looked at, never what is done with it."""
_WORDS = {
    "benchmarks.refinement_stress.__main__": ["--families", "reference", "--seeds", "0", "--jobs", "1"],
    "benchmarks.refinement_ablation": ["--seeds", "1"],
    "benchmarks.motions.__main__": ["--clips", "2"],
}


def scaled(module: str, words: list[str]) -> list[str]:
    """The words of a command with those that make it small: keys after all others that it overrides, options at the end."""
    name = module.removeprefix("pose_priors.")
    if name == "train":
        config = words[words.index("--config") + 1]
        data = {"motion_prior": ["data.num_clips=24"]}.get(config, _POSES)
        size = _MOTION_FLOW if config.startswith("motion_flow") else [*TINY[config], *_ALSO.get(config, []), *data]
        return _overridden(words, [*_TRAINING, *size])
    if name == "refine":
        return _overridden(words, ["trainer.enable_progress_bar=false"])
    if name == "benchmarks.refinement_ablation":
        words = [*words, "--scenes", words[words.index("--scenes") + 1]]  # the first alone
    return [*words, *_WORDS.get(name, [])]


def _overridden(words: list[str], keys: list[str]) -> list[str]:
    if "--override" not in words:
        return [*words, "--override", *keys]
    begin = words.index("--override") + 1
    end = next((place for place in range(begin, len(words)) if words[place].startswith("--")), len(words))
    return [*words[:end], *keys, *words[end:]]


def _few_iterations(refiner: Stage5Refiner, config: RefinementConfig | None = None, **options: Any) -> None:
    config = config or RefinementConfig()
    few = {"root_fitting_iterations": 1, "max_total_iterations": min(NUM_ITERATIONS, config.max_total_iterations)}
    _INIT(refiner, config.model_copy(update=few), **options)


_INIT = Stage5Refiner.__init__


def scaled_down() -> AbstractContextManager[Any]:
    """Within, constants are `CONSTANTS`, and no refinement goes beyond `NUM_ITERATIONS`."""
    within = ExitStack()
    within.enter_context(patch.object(Stage5Refiner, "__init__", _few_iterations))
    for name, value in CONSTANTS.items():
        module, _, constant = name.rpartition(".")
        within.enter_context(patch.object(importlib.import_module(f"pose_priors.{module}"), constant, value))
    return within
