"""Compares trained priors on held-out poses, or motions: `python evaluate.py --checkpoint A.ckpt B.ckpt --data poses/ --output results/`.

Or scores a refined sequence against its truth: `python evaluate.py --scene results/my_video --gt my_video_gt.npz --output results/scores`.
"""

from __future__ import annotations

import argparse
import gc
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # see train.py
if __name__ == "__main__":
    gc.disable()  # until `run`: what is imported stays, and looking through it for garbage took a sixth of the time

import torch
from pydantic import ValidationError

from pose_priors.configs.base import UserError, counted
from pose_priors.configs.cli import Parser, run
from pose_priors.configs.exchange import check_writable, written_beside
from pose_priors.configs.writing import write_json
from pose_priors.datamodules.base import DataConfig, PoseDataModule, load_poses
from pose_priors.datamodules.clips import Clip
from pose_priors.datamodules.motion_data import MotionDataConfig, MotionDataModule, load_clips
from pose_priors.datamodules.view import PoseView
from pose_priors.priors import MotionCVAE, MotionFlow, Prior
from pose_priors.priors.checkpoint import load_prior, read_checkpoint
from pose_priors.priors.description import in_words
from pose_priors.priors.motion.kinds import AnyMotionPrior, window_frames
from pose_priors.priors.training.precision import matmul_precision
from pose_priors.priors.weights.source import name_of

log = logging.getLogger("evaluate")

AnyData = TypeVar("AnyData", DataConfig, MotionDataConfig)

# what each way of calling the script takes: needed, and also allowed
_OPTIONS = {"checkpoint": ({"output"}, {"data", "poses", "device", "allow"}), "scene": ({"gt"}, {"refined", "output"})}


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Evaluates, and returns what it writes to `metrics.json`: the scores of each checkpoint by its path, or those of the sequence."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, argument_default=argparse.SUPPRESS)
    priors = parser.add_argument_group("priors")
    priors.add_argument("--checkpoint", nargs="+")
    priors.add_argument(
        "--data", help="files, a folder or glob of poses or motions; without it, the test split of the first checkpoint's own data"
    )
    priors.add_argument(
        "--poses", type=int, metavar="N", help="score so many of the poses at most, drawn with a fixed seed; 100,000 if not given"
    )
    priors.add_argument("--device", help="cpu if not given")
    priors.add_argument("--allow", nargs="+", metavar="PACKAGE", help="may be imported where a checkpoint names a prior by module:Class")
    scene = parser.add_argument_group("refined sequences")
    scene.add_argument("--scene", type=Path, help="the folder of a sequence, with stages 1 and 3 in it")
    scene.add_argument("--gt", type=Path, help="npz of the truth: joints, visible, ground_plane, alpha, fps")
    scene.add_argument("--refined", type=Path, help="the folder of stage 5; 5_refinement in the sequence if not given")
    parser.add_argument("--output", type=Path, help="a folder for metrics.json and the pictures; sequences can do without")
    options = vars(parser.parse_args(arguments))
    if "output" in options:
        check_writable(options["output"])
    # each way brings what it needs alone: neither scikit-learn for a sequence, nor the refinement for priors
    if _kind(options) == "scene":
        from pose_priors.refinement.result.report import evaluate_scene

        return evaluate_scene(options["scene"], options["gt"], options.get("refined"), options.get("output"))
    device, allow = options.get("device", "cpu"), options.get("allow", ())
    loaded = {path: load_prior(path, device, allow=allow) for path in options["checkpoint"]}
    for path, prior in loaded.items():
        if prior.trained_on:
            log.info("%s: trained on %s", path, prior.trained_on)
    return _evaluate_priors(loaded, options.get("data"), options["output"], device, options.get("poses"))


def _kind(options: dict[str, Any]) -> str:
    """`checkpoint` or `scene`. Raises `UserError` if both or neither are there, or options that do not belong or are missing."""
    kinds = [kind for kind in _OPTIONS if kind in options]
    if len(kinds) != 1:
        given = "both are" if kinds else "neither is"
        raise UserError(f"--checkpoint and --scene: {given} given; give --checkpoint to compare priors, or --scene to score a sequence")
    needed, allowed = _OPTIONS[kinds[0]]
    if missing := needed - options.keys():
        raise UserError(f"--{kinds[0]} needs --{sorted(missing)[0]} too")
    if strange := options.keys() - needed - allowed - {kinds[0]}:
        raise UserError(f"--{sorted(strange)[0]} says nothing beside --{kinds[0]}, which takes --{', --'.join(sorted(needed | allowed))}")
    return kinds[0]


def _evaluate_priors(priors: dict[str, Any], data: str | None, output: Path, device: str, most: int | None) -> dict[str, dict[str, Any]]:
    of_motions = {path: prior for path, prior in priors.items() if isinstance(prior, MotionCVAE | MotionFlow)}
    of_poses = {path: prior for path, prior in priors.items() if isinstance(prior, Prior)}
    if of_motions and of_poses:
        motion, pose = next(iter(of_motions)), next(iter(of_poses))
        raise UserError(f"--checkpoint: {motion} is a prior of motions, {pose} one of poses; compare those of one sort at a time")
    if of_motions:
        if most is not None:
            raise UserError(f"--poses={most}: says nothing of motions, of which all are scored")
        return _evaluate_motion_priors(of_motions, data, output)
    return _evaluate_pose_priors(of_poses, data, output, device, most)


def _evaluate_pose_priors(
    priors: dict[str, Prior], data: str | None, output: Path, device: str, most: int | None
) -> dict[str, dict[str, Any]]:
    from pose_priors.priors.evaluation.report import plot, plot_for_paper, print_table, score
    from pose_priors.priors.evaluation.subset import MOST_SCORED, chosen, drawn

    if most is not None and most < 1:
        raise UserError(f"--poses={most}: give a number of 1 or more")
    held_out = _held_out_poses(list(priors), data)
    rows = drawn(len(held_out), most or MOST_SCORED)
    # all at once where they are all, which costs no copy
    poses = torch.from_numpy(held_out[rows] if len(rows) < len(held_out) else held_out[:]).to(device)
    for path, prior in priors.items():
        still = [name for name, i in zip(prior.joints, prior.joint_indices, strict=True) if (poses[:, i] == poses[:1, i]).all()]
        if still and len(poses) > 1:
            named = f"{', '.join(still[:6])}{', ...' if len(still) > 6 else ''}"
            raise UserError(f"{path} scores {len(still)} joints that never move in these poses ({named}): give --data in which they do")
    held_out_poses = chosen(poses, len(held_out))
    # on a CPU what loses nothing; a GPU's shorter products would
    with matmul_precision("auto" if device == "cpu" else "highest", on_gpu=False):
        metrics = {path: score(prior, held_out_poses) for path, prior in priors.items()}
        with written_beside(output) as new:
            write_json(new / "metrics.json", metrics)
            plot(priors, held_out_poses.compared, new)
            plot_for_paper(priors, held_out_poses.compared, new)
    print_table(metrics, f"{held_out_poses.in_words()}; nats against normalised Haar measure over the joints scored")
    if len({tuple(m["joints"]) for m in metrics.values()}) > 1:
        log.warning("the checkpoints score different joints: their likelihoods cannot be compared")
    return metrics


def _evaluate_motion_priors(priors: dict[str, AnyMotionPrior], data: str | None, output: Path) -> dict[str, dict[str, Any]]:
    from pose_priors.priors.evaluation.report import print_table
    from pose_priors.priors.motion.report import plot_samples, plot_scales, score_clips, score_motions

    clips = {f"{number:03d} {clip.name}": clip.as_window() for number, clip in enumerate(_held_out_clips(priors, data))}
    metrics = {}
    with written_beside(output) as new:
        for number, (path, prior) in enumerate(priors.items()):
            named = f"{number}_{name_of(path)}"
            if isinstance(prior, MotionFlow):
                metrics[path] = score_clips(prior, clips)
            else:
                metrics[path], curve = score_motions(prior, clips)
                plot_scales(clips, curve, new, named)
            plot_samples(prior, new, named)
        write_json(new / "metrics.json", metrics)
    print_table(metrics, f"{counted(len(clips), 'clip')}; log-likelihoods in nats a transition, energies in nats a frame")
    return metrics


def _held_out_poses(checkpoints: Sequence[str], data: str | None) -> PoseView:
    """(N, 55, 3), on disk: the poses of `data`, or the test split that the first checkpoint's configuration describes."""
    trained_on, seed = _data_of(DataConfig, checkpoints[0])
    if data is not None:
        return load_poses(data, trained_on)
    module = PoseDataModule(trained_on, batch_size=1, seed=seed)
    _set_up(module, checkpoints)
    return module.test_poses


def _held_out_clips(priors: dict[str, AnyMotionPrior], data: str | None) -> list[Clip]:
    """As `_held_out_poses`, of motions."""
    path, prior = next(iter(priors.items()))
    try:
        read_checkpoint(path)
    except UserError as error:  # HuMoR's own file, which says nothing of its data
        if data is None:
            raise UserError(f"{path}: not trained by this project: say on which motions to evaluate it with --data") from error
        return load_clips(data)
    trained_on, seed = _data_of(MotionDataConfig, path)
    if data is not None:
        return load_clips(data, trained_on)
    module = MotionDataModule(trained_on, 1, seed, window_frames(prior.config))
    _set_up(module, list(priors))
    return module.test_clips


def _data_of(section: type[AnyData], checkpoint: str) -> tuple[AnyData, int]:
    """The data that a checkpoint was trained on, and the seed. Raises `UserError` if it does not say."""
    experiment = read_checkpoint(checkpoint)["prior"]["experiment"]
    try:
        return section.model_validate(experiment.get("data") or {}), experiment.get("seed", 0)
    except ValidationError as error:
        raise UserError(f"{checkpoint}: does not say what data it was trained on ({in_words(error)}); name another one first") from error


def _set_up(module: PoseDataModule | MotionDataModule, checkpoints: Sequence[str]) -> None:
    """Raises `UserError` if a checkpoint was trained on other data."""
    module.setup()
    strangers = [path for path in checkpoints if read_checkpoint(path)["prior"]["data_fingerprint"] != module.fingerprint]
    if strangers:
        raise UserError(f"{strangers[0]}: was trained on other data than the test split of {checkpoints[0]}: say which with --data")


if __name__ == "__main__":
    run(main)
