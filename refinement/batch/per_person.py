"""Each person refined alone, and how that differs from refining all of them together.

Alone, the metric scale and the floor rest on one person's masks, keypoints and depth samples; the masks of the others only keep their
bodies out of the floor. What the two results of a person disagree in is what refining together decides.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pose_priors.configs.base import UserError
from pose_priors.configs.writing import write_json
from pose_priors.refinement.batch.digest import completed
from pose_priors.refinement.formats.files import read_json
from pose_priors.refinement.given.problem import Problem
from pose_priors.refinement.result.metrics import FEET, Track, abs_mpjpe, jitter, mpjpe, runs, scale_error_percent
from pose_priors.refinement.result.people import RefinedPerson, read_person
from pose_priors.refinement.result.truth import Truth, read_truth

log = logging.getLogger("refine")

FOLDER = "per_person"
"""Holds one result for each person who was refined alone, in the folder of stage 5."""
COMPARISON = "per_person.json"
"""Each person's result alone against that of the joint run, in the folder of stage 5."""
_SURE = 0.5


def alone_folder(output: Path, person: int) -> Path:
    """Where the result of one person alone is, a folder of stage 5 itself, below that of the joint run."""
    return output / FOLDER / f"person_{person:03d}"


def refine_apart(
    people: Sequence[int],
    load: Callable[[int], Problem],
    refine: Callable[[int, Problem, Path, str], dict[str, Any]],
    output: Path,
    digest: str,
    *,
    skip_existing: bool = False,
    truth: Path | None = None,
) -> dict[str, Any]:
    """Refines each person alone into `per_person/person_<id>` beside the joint result, and writes `per_person.json`.

    One who cannot be refined alone does not stop the others. What was made for people who are no longer asked for is removed.

    Args:
        people: the tracker's ids of the joint run.
        load: the problem of one person.
        refine: refines a person's problem into a folder, keeps the digest there, and gives the content of `refinement_results.json`.
        output: the folder of stage 5, with the joint result in it.
        digest: of the joint result, see `digest.outcome_digest`.
        skip_existing: whether what is complete is kept.
        truth: an npz as `result.truth.read_truth` reads it, or None.
    Returns:
        The content of `per_person.json`, see `alone_against_joint`; `failed` in it gives the reason by id.
    Raises:
        UserError: if the joint result cannot be read, or somebody could not be refined alone; the others are done then.
    """
    folders, mine = {person: alone_folder(output, person) for person in people}, f"{digest} alone"
    ready = {person: skip_existing and completed(folder, mine) is not None for person, folder in folders.items()}
    earlier = read_json(output / COMPARISON)
    if all(ready.values()) and earlier.get("digest") == digest:
        log.info("%s: each person alone is complete, skipped", output)
        return earlier
    (output / COMPARISON).unlink(missing_ok=True)
    for stale in set((output / FOLDER).glob("person_*")) - set(folders.values()):
        shutil.rmtree(stale)
    failed: dict[int, str] = {}
    fps = None
    for person, folder in folders.items():
        try:
            problem = None if ready[person] and fps is not None else load(person)
            fps = fps if problem is None else problem.fps
            if problem is not None and not ready[person]:
                results = refine(person, problem, folder, mine)
                if results["status"] != "success":
                    raise UserError("the loss of a sub-stage was not finite")
                log.info("person %d alone: scale %.4f, to %s", person, results["scale_alpha"], folder)
        except UserError as error:
            log.warning("person %d cannot be refined alone: %s", person, error)
            failed[person] = str(error)
    content: dict[str, Any] = {"digest": digest, "people": {}}
    if fps is not None:
        together = {person: read_person(output, person) for person in people}
        alone = {person: read_person(folder, person) for person, folder in folders.items() if person not in failed}
        content |= {"fps": fps, **alone_against_joint(alone, together, fps, None if truth is None else _truth_of(truth, people))}
    content["failed"] = {str(person): reason for person, reason in failed.items()}
    write_json(output / COMPARISON, content)
    if failed:
        reasons = "; ".join(f"person {person}: {reason}" for person, reason in failed.items())
        raise UserError(f"{output}: the joint result is complete, but not everybody can be refined alone ({reasons})")
    return content


def alone_against_joint(
    alone: Mapping[int, RefinedPerson], together: Mapping[int, RefinedPerson], fps: float, truth: Truth | None = None
) -> dict[str, Any]:
    """How each person alone differs from the joint run.

    Args:
        truth: of the people in `together`, in ascending order of their ids.
    Returns:
        `people` by id, of those who are in `alone`: `distance_mm`, mean distance apart of the joints of the body, each result in its own
        metric world; `root_aligned_distance_mm`, the same once the pelvises are at one place; and for `alone` and `joint`, `scale`,
        `jitter` (10 m/s^3) and `foot_sliding_mm`, the mean step of ankles and feet while they carry according to the joint result.
        With the truth, also `truth` with all of `metrics.person_metrics` and `scale_error_percent`.
    """
    people = {}
    for person, single in alone.items():
        joint = together[person]
        ways = {"alone": single, "joint": joint}
        mine, theirs = single.track.body, joint.track.body
        _, a, j = np.intersect1d(mine.frames, theirs.frames, return_indices=True)
        found: dict[str, Any] = {
            "distance_mm": abs_mpjpe(mine.joints[a], theirs.joints[j]),
            "root_aligned_distance_mm": mpjpe(mine.joints[a], theirs.joints[j]),
        }
        found |= {name: _alone(way, joint, fps) for name, way in ways.items()}
        if truth is not None:
            row = sorted(together).index(person)
            found["truth"] = {
                name: truth.score(way.track.body, row) | {"scale_error_percent": scale_error_percent(way.scale_alpha, truth.alpha)}
                for name, way in ways.items()
            }
        people[str(person)] = found
    return {"people": people}


def print_comparison(name: str, content: Mapping[str, Any]) -> None:
    """The table of a comparison on the terminal, two rows for each person."""
    caption = "mean mm apart, the same with the pelvises at one place, scale, jitter (10 m/s^3), mm that feet slide a frame"
    columns = ["person", "refined", "apart", "posed", "scale", "jitter", "slide"]
    if any("truth" in person for person in content["people"].values()):
        columns.append("error")
        caption += ", mm from the truth"
    from rich.console import Console  # here, since few commands show a table
    from rich.table import Table

    table = Table(title=f"{name}: each person refined alone, and all together", caption=caption)
    for column in columns:
        table.add_column(column, justify="left" if column == "refined" else "right")
    for person, found in content["people"].items():
        apart = [f"{found[key]:.1f}" for key in ("distance_mm", "root_aligned_distance_mm")]
        for way, start in (("alone", [person, "alone", *apart]), ("joint", ["", "joint", "", ""])):
            numbers = [_number(found[way][key], digits) for key, digits in (("scale", 4), ("jitter", 2), ("foot_sliding_mm", 2))]
            table.add_row(*start, *numbers, *([_number(found["truth"][way]["abs_mpjpe_mm"], 1)] if "truth" in found else []))
    Console().print(table)


def _alone(found: RefinedPerson, joint: RefinedPerson, fps: float) -> dict[str, float | None]:
    track = found.track.body
    return {"scale": found.scale_alpha, "jitter": jitter(track, fps), "foot_sliding_mm": _sliding(track, joint)}


def _sliding(track: Track, joint: RefinedPerson) -> float | None:
    """Mean step, mm, of ankles and feet from each frame to the next where the joint result says that they carry on both; None if never, or
    where others can carry."""
    if joint.contacts.shape[1] != len(FEET) or not np.array_equal(track.frames, joint.track.frames):
        return None
    found = []
    for rows in runs(track.frames):
        carries = joint.contacts[rows] >= _SURE
        step = np.linalg.norm(np.diff(track.joints[rows][:, FEET], axis=0), axis=-1)
        found.append(step[carries[1:] & carries[:-1]])
    together = np.concatenate(found)
    return float(together.mean() * 1e3) if len(together) else None


def _truth_of(path: Path, people: Sequence[int]) -> Truth | None:
    """The truth; None, with a warning, where it is of other people."""
    try:
        truth = read_truth(path)
    except UserError as error:
        log.warning("%s; nothing is compared with it", error)
        return None
    if len(truth.joints) != len(people):
        log.warning("%s: %d people, %d were refined; nothing is compared with it", path, len(truth.joints), len(people))
        return None
    return truth


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
