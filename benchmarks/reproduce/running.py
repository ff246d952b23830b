"""How a number is made: the commands of the project, one after the other, and what they write read back."""

from __future__ import annotations

import json
import logging
import math
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pose_priors.benchmarks.reproduce.stated import METRICS, PosesRow, ScenesRow, Split
from pose_priors.configs.base import UserError

log = logging.getLogger("benchmark")

Command = Callable[[list[str], Path], None]
"""Runs `pose-priors` with these words in a folder. Raises `UserError` if it fails."""
# tiny, to see that a row works from the first command to the last; what comes out says nothing
_ONCE = "training.max_epochs=1"
_NO_DRAWS = ["training.smoothed_share=0", "trainer.check_val_every_n_epoch=1"]  # a mixture of few poses is chosen by none
_SCALED_TRAINING = {
    "gaussian_prior": [_ONCE],
    "joint_flow": [_ONCE, "model.hidden=16", "training.batch_size=64", *_NO_DRAWS],
    "global_flow": [_ONCE, "model.hidden=32", "model.K=2", *_NO_DRAWS],
    "mixed_ensemble": [
        "model.members=[{kind: mixture, num_components: [2], widths: [1.0]}, {kind: global_flow, hidden: 16, K: 2}]",
        _ONCE,
        *_NO_DRAWS,
    ],
    "mixture": ["model.num_components=[2]", "model.widths=[1.0]", "model.covariance_floors=[1e-3]", "trainer.limit_train_batches=2"],
    "flow_matching": [_ONCE, "model.num_networks=2", "model.hidden=32", "model.num_blocks=1", "model.num_steps=1"],
}
_SCALED_REFINEMENT = [
    f"refinement.{name}_iterations=1" for name in ("root_fitting", "smpl_fitting", "motion_prior", "environmental", "scale")
]


class Found(NamedTuple):
    """One number that came out, its standard error, and the processor time in minutes that it took; of scenes also what went in."""

    value: float
    error: float
    minutes: float
    before: float | None = None


def in_a_process(words: list[str], folder: Path) -> None:
    """A `Command` in a process of its own, which prints what it does."""
    log.info("$ cd %s && pose-priors %s", folder, " ".join(words))
    folder.mkdir(parents=True, exist_ok=True)
    if subprocess.run([sys.executable, "-m", "pose_priors", *words], cwd=folder, env=_with_package()).returncode:
        raise UserError(f"pose-priors {words[0]} has failed, see above; mend what it says and give the same command again")


def likelihood(name: str, row: PosesRow, split: Split, data: Path, output: Path, command: Command, scaled_down: bool) -> Found:
    """The test NLL of a row on a split whose files lie in `data`."""
    began, folder = _minutes(), output / split / name
    if row.peer is not None:
        command(
            ["benchmark", "priors", "--data", str(data), "--baselines", row.peer, "--tasks", "likelihood", "--output", str(folder)], output
        )
        table = _read(folder / "metrics.json")["tables"]["likelihood"]
        return Found(table["rows"][row.peer]["NLL"], table["errors"][row.peer]["NLL"], _minutes() - began)
    override = [*row.override, *(_SCALED_TRAINING[row.train or ""] if scaled_down else [])]
    files = [f"data.{part}={data / f'{part}.npy'}" for part in ("train", "val", "test")]
    places = [f"logging.checkpoint_dir={folder}", f"logging.log_dir={output / 'logs'}", "logging.logger=csv"]
    command(["train", "--config", str(row.train), "--override", *files, *override, *places], output)
    minutes = _minutes() - began
    command(["evaluate", "--checkpoint", str(folder / "best.ckpt"), "--output", str(folder / "scores")], output)
    (scores,) = _read(folder / "scores" / "metrics.json").values()
    return Found(scores["nll"], scores["nll_standard_error"], minutes)


def scenes(name: str, row: ScenesRow, output: Path, command: Command, scaled_down: bool) -> dict[str, Found]:
    """By metric its mean over the refined scenes of a row."""
    began, scores = _minutes(), []
    for seed in row.seeds[: 2 if scaled_down else None]:
        folder = output / name / f"seed_{seed}"
        override = ["input.path=null", f"input.seed={seed}", *(_SCALED_REFINEMENT if scaled_down else [])]
        command(["refine", "--config", "refinement", "--override", *override], folder)
        scene = ["--scene", "results/built_in", "--gt", "results/built_in_gt.npz"]
        command(["evaluate", *scene, "--output", "scores"], folder)
        scores.append(_read(folder / "scores" / "metrics.json"))
    minutes = _minutes() - began
    found = {}
    for metric in METRICS:
        before, after = ([float(score[when][metric]) for score in scores] for when in ("before", "after"))
        found[metric] = Found(_mean(after), _error(after), minutes, _mean(before))
    return found


def _with_package() -> dict[str, str]:
    """The environment of commands: they find this package wherever they run."""
    import pose_priors

    above = str(Path(str(pose_priors.__file__)).resolve().parent)
    root = above if Path(str(pose_priors.__file__)).name != "__init__.py" else str(Path(above).parent)
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))}


def _minutes() -> float:
    """Processor time of this process and of those that it has ended, in minutes."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used) / 60


def _read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _error(values: Sequence[float]) -> float:
    """The standard error of a mean."""
    mean = _mean(values)
    return math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1) / len(values))
