"""How well faults of motions are found and taken out: `pose-priors benchmark motion_faults --data motions/ --output results/`.

Known faults (`injection`) are put into clips, as many of each kind; each clip is scored, and cleaned. Found: the area under the ROC curve
of frames of the faulty clips, by the score of that kind and by the whole badness, and of whole clips against the clips as they were; beside
it, thresholds on jerk and on the height of the lowest sole. Clips as they were may have faults of their own: those that `recorded` names
are in one column of clips and not in the next. Cleaned: the mean distance of joints to the clip as it was, over that of the
input; jerk and the largest speeds over the clip's own.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pose_priors.benchmarks.motions.injection import INJECTIONS
from pose_priors.benchmarks.motions.recorded import faults_of_recording
from pose_priors.benchmarks.motions.trial import Trial, try_clean, try_faulty
from pose_priors.benchmarks.priors.tables import ResultTable, write_tables
from pose_priors.configs.base import UserError
from pose_priors.configs.cli import Parser, at_least, run
from pose_priors.configs.exchange import check_writable
from pose_priors.refinement.motions.files.read import MotionFile, read_motions

log = logging.getLogger("motion_faults")
_LEAST_FRAMES = 60


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Runs the benchmark; returns its tables by key."""
    parser = Parser(description=__doc__)
    parser.add_argument("--data", nargs="+", type=Path, required=True, help="files, or folders of files, of motions without faults")
    parser.add_argument("--output", type=Path, required=True, help="a folder for metrics.json and metrics.md")
    parser.add_argument("--clips", type=at_least(1), default=200, help="so many faulty clips, as many of each kind")
    parser.add_argument("--seed", type=at_least(0), default=0)
    parser.add_argument("--every", type=at_least(1), default=1, help="of each folder's files, by name, only every so many-th")
    options = parser.parse_args(arguments)
    check_writable(options.output)
    files = [path for root in options.data for path in _files(root)[:: options.every]]
    clips = [file for file in map(read_motions, files) if len(file.people[0]) >= _LEAST_FRAMES]
    if not clips:
        raise UserError(f"--data: no clip of at least {_LEAST_FRAMES} frames")
    aside = [faults_of_recording(file.people[0]) for file in clips]
    for file, reasons in zip(clips, aside, strict=True):
        if reasons:
            log.info("%s: %s", file.path.name, ", ".join(reasons))
    tables = measure(clips, options.clips, options.seed, [bool(reasons) for reasons in aside])
    for table in tables:
        table.show()
    told = {"data": [str(path) for path in options.data], "every": options.every, "seed": options.seed}
    told["faults of recordings"] = {file.path.name: reasons for file, reasons in zip(clips, aside, strict=True) if reasons}
    write_tables(tables, told, options.output)
    return {table.key: table for table in tables}


def measure(clips: Sequence[MotionFile], num_faulty: int, seed: int, aside: Sequence[bool]) -> list[ResultTable]:
    """The tables of what is found and of what is cleaned.

    Args:
        aside: clip by clip, whether its recording has faults of its own.
    """
    plain = [try_clean(file) for file in clips]
    rng = np.random.default_rng(seed)
    faulty: dict[str, list[Trial]] = {kind: [] for kind in INJECTIONS}
    order = rng.permutation(len(clips))
    for number in range(num_faulty):
        kind = list(INJECTIONS)[number % len(INJECTIONS)]
        log.info("%d/%d %s", number + 1, num_faulty, kind)
        trial = try_faulty(clips[order[number // len(INJECTIONS) % len(clips)]], kind, np.random.default_rng([seed, number]))
        if trial.marked.any():  # a path that goes nowhere is not too short
            faulty[kind].append(trial)
    sound = [trial for trial, left in zip(plain, aside, strict=True) if not left]
    found = {kind: _found(trials, plain, sound) for kind, trials in faulty.items() if trials}
    found["all"] = _found([trial for trials in faulty.values() for trial in trials], plain, sound)
    del found["all"]["frames: score of the kind"]
    cleaned = {kind: _cleaned(trials) for kind, trials in faulty.items() if trials}
    cleaned["all"] = _cleaned([trial for trials in faulty.values() for trial in trials])
    cleaned["no fault"] = {
        "moved, mean of clips (mm)": float(np.mean([trial.after for trial in plain])),
        "clips moved by more than 3 mm": float(np.mean([trial.after > 3 for trial in plain])),
    }
    return [
        ResultTable(
            "found",
            f"Faults found, area under the ROC curve; {len(plain)} clips as they are, {len(sound)} of them sound, {num_faulty} faulty",
            found,
        ),
        ResultTable("cleaned", "What is left of faults, over the input's or the truth's", cleaned),
    ]


def _found(trials: Sequence[Trial], plain: Sequence[Trial], sound: Sequence[Trial]) -> dict[str, float | None]:
    marked = np.concatenate([trial.marked for trial in trials])

    def of_frames(name: str) -> float | None:
        return _auroc(marked, np.concatenate([trial.frames[name] for trial in trials]))

    def of_clips(name: str, without: Sequence[Trial] = plain) -> float | None:
        values = [trial.clip[name] for trial in [*trials, *without]]
        return _auroc(np.arange(len(values)) < len(trials), np.array(values))

    return {
        "frames: score of the kind": of_frames("kind"),
        "frames: badness": of_frames("badness"),
        "frames: jerk": of_frames("jerk"),
        "frames: height": of_frames("height"),
        "clips: badness": of_clips("badness"),
        "clips: badness, against sound ones": of_clips("badness", sound),
        "clips: jerk": of_clips("jerk"),
        "clips: height": of_clips("height"),
    }


def _cleaned(trials: Sequence[Trial]) -> dict[str, float | None]:
    before, after = (np.array([getattr(trial, name) for trial in trials]) for name in ("before", "after"))
    return {
        "input (mm)": float(before.mean()),
        "cleaned (mm)": float(after.mean()),
        "ratio of means": float(after.mean() / before.mean()),
        "median ratio": float(np.median(after / before)),
        "jerk": float(np.median([trial.jerk for trial in trials])),
        "peak speed": float(np.median([trial.peak for trial in trials])),
    }


def _auroc(marked: np.ndarray, score: np.ndarray) -> float | None:
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(marked, score)) if 0 < marked.sum() < len(marked) else None


def _files(root: Path) -> list[Path]:
    if not root.exists():
        raise UserError(f"--data {root}: no such file or folder; motions without faults are expected")
    found = sorted(path for path in root.rglob("*.npz")) if root.is_dir() else [root]
    if not found:
        raise UserError(f"--data {root}: no npz in this folder")
    return found


if __name__ == "__main__":
    run(main)
