"""Refines sequences in world space: `python refine.py --config refinement --override input.path=results/my_video`."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # spinning threads collapse when anything else runs; read by torch at import

from pytorch_lightning.loggers import CSVLogger, Logger, TensorBoardLogger

from configs.base import UserError
from configs.cli import Parser, run
from configs.load import load_config
from refinement.builtin_scene import write_builtin_scene
from refinement.experiment import RefinementExperiment, RefinementLoggingConfig
from refinement.refiner import run_refinement

log = logging.getLogger("refine")

_BUILTIN = Path("results/built_in")
_STAGES = {1: "1_camera_estimation", 2: "2_tracking", 3: "3_pose_estimation", 4: "4_world_space", 5: "5_refinement"}


def main(arguments: Sequence[str] | None = None) -> dict[str, dict[str, Any]]:
    """Refines, and returns the content of `refinement_results.json` by the sequence's name. Exits with code 1 if some of many failed."""
    parser = Parser(description=__doc__)
    parser.add_argument("--config", required=True, help="the name of a file in configs/, or a path")
    parser.add_argument("--override", nargs="*", default=[], action="extend", metavar="KEY=VALUE", help="input.path=results/my_video ...")
    options = parser.parse_args(arguments)
    config = load_config(RefinementExperiment, options.config, options.override)
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    if config.input.path is None:
        root, truth = write_builtin_scene(_BUILTIN, config.input.seed)
        log.info("no input.path: the built-in sequence, written to %s; its truth is in %s", root, truth)
    else:
        root = Path(config.input.path)
    sequences = find_sequences(root)
    if sequences == [root]:
        return {root.name: refine_sequence(config, root, Path(config.output.path or root / _STAGES[5]))}
    results, failures = {}, []
    for sequence in sequences:
        output = sequence / _STAGES[5] if config.output.path is None else Path(config.output.path) / sequence.name
        try:
            results[sequence.name] = refine_sequence(config, sequence, output)
        except UserError as error:
            log.error("error: %s: %s", sequence.name, error)
            failures.append(sequence.name)
        except Exception:
            log.exception("%s: a defect of this program, not of the input; the other sequences go on", sequence.name)
            failures.append(sequence.name)
    if failures:
        print(f"error: {len(failures)} of {len(sequences)} sequences failed: {', '.join(failures)}", file=sys.stderr)
        sys.exit(1)
    return results


def find_sequences(path: Path) -> list[Path]:
    """The path itself if it is a sequence, else the sequences in it. Raises `UserError` if there are none."""

    def is_sequence(folder: Path) -> bool:
        return folder.is_dir() and any((folder / _STAGES[stage]).is_dir() for stage in (1, 2, 3, 4))

    if is_sequence(path):
        return [path]
    if not path.is_dir():
        raise UserError(f"input.path={path}: no such folder; expected the folder of a sequence, with {_STAGES[1]} and so on in it")
    sequences = sorted(folder for folder in path.iterdir() if is_sequence(folder))
    if not sequences:
        inside = ", ".join(sorted(entry.name for entry in path.iterdir())[:10]) or "nothing"
        raise UserError(f"input.path={path}: holds no {_STAGES[1]} ... {_STAGES[4]}, nor folders that do; it holds: {inside}")
    return sequences


def refine_sequence(config: RefinementExperiment, sequence: Path, output: Path) -> dict[str, Any]:
    """Refines one sequence and says in one line what came out."""
    results = run_refinement(
        stage4_output_dir=sequence / _STAGES[4] if (sequence / _STAGES[4]).is_dir() else None,
        stage1_output_dir=sequence / _STAGES[1],
        stage2_output_dir=sequence / _STAGES[2],
        stage3_output_dir=sequence / _STAGES[3],
        stage5_output_dir=output,
        config=config.refinement,
        body_prior=config.prior.body,
        hand_prior=config.prior.hands,
        body_model=config.body_model.path,
        fps=config.input.fps,
        keypoint_dropout=config.input.keypoint_dropout,
        seed=config.input.seed,
        trainer=config.trainer,
        logger=_logger(config.logging, sequence.name),
    )
    alpha, delta = results["scale_alpha"], results["scale_delta"]
    log.info("%s: %d people, scale %.4f (%+.4f), to %s", sequence.name, results["num_people"], alpha, delta, output)
    return results


def _logger(config: RefinementLoggingConfig, name: str) -> Logger | None:
    kinds = {"tensorboard": TensorBoardLogger, "csv": CSVLogger}
    return kinds[config.logger](config.log_dir, name=name) if config.logger else None


if __name__ == "__main__":
    run(main)
