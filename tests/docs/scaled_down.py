"""How what pages say is made small, so that they take seconds: words after its own, and constants of the project meanwhile."""

from __future__ import annotations

import importlib
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
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
    "model.regression_hidden=32",
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
    "body.rigs.fit._STEPS": 2,
    "datamodules.synthetic.scenes.builtin._NUM_FRAMES": 24,
    "datamodules.synthetic.scenes.builtin._HIDDEN": 4,
    "priors.posteriors.particles._EFFICIENCY": 0.05,
    "priors.posterior._MIN_PARTICLES": 8,
    "priors.posterior._LAST_MOVES": 1,
    "priors.posterior._LAST_MOVES_OF_LED": 1,
    "priors.posterior._STEPS": 1,
    "priors.posteriors.annealing._NUM_MODES": 1,
    "priors.posteriors.modes._NUM_STEPS": 1,
    "priors.posteriors.annealing._LAST_MOVES": 1,
    "priors.posteriors.annealing._MOVES": 1,
    "priors.posteriors.annealing._STEPS": 1,
    "benchmarks.refinement_symmetries.IMAGES": dict([*IMAGES.items()][:1]),
    "benchmarks.priors.kernel_fits._BANDWIDTHS": (0.3, 0.6),
    "benchmarks.priors.kernel_fits._NUM_COMPONENTS": (8,),
    "benchmarks.priors.kernel_fits._FLOORS": (1e-3,),
    "benchmarks.priors.kernel_fits._RESTARTS": 1,
    "benchmarks.priors.kernel_fits._EM_STEPS": 5,
    "benchmarks.priors.minimize._TRIALS": 3,
    "benchmarks.priors.vposer._MAX_EPOCHS": 1,
    "benchmarks.priors.vposer._FIT_STEPS": 4,
    "benchmarks.priors.trained._NUM_DRAWS_OF_MEAN": 4,
    "benchmarks.priors.data._MAX_FITTED": 300,
    "benchmarks.priors.data._MAX_SCORED": 30,
    "benchmarks.priors.data._MAX_FOREIGN": 10,
    "benchmarks.priors.completion._NUM_PROPOSALS": 16,
    "benchmarks.priors.completion._NUM_STEPS": 1,
    "benchmarks.priors.completion._NUM_COMPONENTS": 2,
    "benchmarks.priors.completion._NUM_FITTED": 100,
    "benchmarks.priors.completion._MAX_ITERATIONS": 2,
    "benchmarks.priors.completion._NUM_CHAINS_OF_MEAN": 2,
    "benchmarks.priors.tasks.completion._NUM_POSES": 3,
    "benchmarks.priors.tasks.completion._NUM_DRAWS": 2,
    "benchmarks.priors.tasks.denoising._NUM_POSES": 3,
    "benchmarks.priors.tasks.denoising._NUM_VALIDATION": 3,
    "benchmarks.priors.tasks.denoising._DEGREES": (5,),
    "benchmarks.priors.tasks.denoising._WEIGHTS": (1.0,),
    "benchmarks.priors.tasks.denoising._MAX_STEPS": 2,
    "benchmarks.priors.tasks.denoising._NUM_MOTIONS": 1,
    "benchmarks.priors.tasks.denoising.NUM_VALIDATION_MOTIONS": 1,
    "benchmarks.priors.tasks.denoising._NUM_FRAMES": 8,
    "benchmarks.priors.tasks.denoising._MOTION_WEIGHTS": (1.0,),
    "benchmarks.priors.tasks.denoising._MAX_MOTION_STEPS": 2,
    "benchmarks.priors.tasks.inverse_kinematics._NUM_POSES": 3,
    "benchmarks.priors.tasks.inverse_kinematics._MAX_STEPS": 2,
    "benchmarks.priors.tasks.likelihood._CONDITIONED_POSES": 3,
    "benchmarks.priors.tasks.likelihood._DRAWS": 8,
    "benchmarks.priors.tasks.posterior_means._DEGREES": (5,),
    "benchmarks.priors.tasks.posteriors._NUM_POSES": 2,
    "benchmarks.priors.tasks.posteriors._NUM_TOGETHER": 3,
    "benchmarks.priors.tasks.random_starts._EVERY": 5,
    "benchmarks.priors.tasks.random_starts._MAX_STEPS": 2,
    "benchmarks.priors.tasks.random_starts._NUM_DRAWS": 8,
    "benchmarks.priors.tasks.regulariser._NUM_STARTS": 10,
    "benchmarks.priors.tasks.regulariser._NUM_ALONE": 1,
    "benchmarks.priors.tasks.regulariser._MAX_STEPS": 2,
}
"""By their names in the project. What a constant decides is how much is looked at, never what is done with it."""
BASELINES = ("Gaussian, full", "GMM-8", "VPoser")
"""Of a comparison that names none of its own."""
_MOST_CHECKPOINTS = 5
"""That a comparison may have before two are taken of them."""
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
    if name == "benchmarks.priors.__main__":
        return [*words, *_compared(words)]
    if name in ("benchmarks.refinement_ablation", "benchmarks.refined_soles"):
        words = [*words, "--scenes", words[words.index("--scenes") + 1]]  # the first alone
    if name == "benchmarks.refinement_symmetries":
        words = words[:1]  # the first family alone
    return [*words, *_WORDS.get(name, [])]


def _compared(words: list[str]) -> list[str]:
    """Words that leave less to be compared where all there is would be: few baselines, and of many checkpoints a Gaussian and a flow."""
    checkpoints = [word for word in words if word.endswith(".ckpt")]
    few = [path for path in checkpoints if Path(path).parent.name in ("full", "global")] or checkpoints[:2]
    return [
        *([] if "--baselines" in words else ["--baselines", *BASELINES]),
        *(["--checkpoints", *few] if len(checkpoints) > _MOST_CHECKPOINTS else []),
    ]


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
