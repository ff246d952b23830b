"""Each person refined alone, and how that differs from refining all of them together.

Alone, the metric scale and the floor rest on one person's masks, keypoints and depth samples; the masks of the others only keep their
bodies out of the floor. What the two results of a person disagree in is what refining together decides.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from pose_priors.configs.base import UserError
from pose_priors.configs.writing import write_json
from pose_priors.refinement.batch.digest import completed
from pose_priors.refinement.formats.files import Arrays, existing_file, read_json
from pose_priors.refinement.given.problem import Problem
from pose_priors.refinement.result.metrics import (
    FEET,
    NUM_JOINTS,
    Track,
    abs_mpjpe,
    jitter,
    mpjpe,
    person_metrics,
    runs,
    scale_error_percent,
)
from pose_priors.refinement.result.report import Truth, read_truth
from pose_priors.refinement.result.write import person_file

log = logging.getLogger("refine")

FOLDER = "per_person"
"""Holds one result for each person who was refined alone, in the folder of stage 5."""
COMPARISON = "per_person.json"
"""Each person's result alone against that of the joint run, in the folder of stage 5."""
_SURE = 0.5


@dataclass(frozen=True)
class RefinedPerson:
    """One person of a result.

    Attributes:
        track: n frames.
        contacts: (n, 4) in [0, 1], how surely ankles and feet carry, in the order of `metrics.FEET`; None where others can carry.
        scale: alpha, metric = alpha * stage 1.
    """

    track: Track
    contacts: np.ndarray | None
    scale: float


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
        digest: of the joint result, see `refinement.digest`.
        skip_existing: whether what is complete is kept.
        truth: an npz as `refinement.report.read_truth` reads it, or None.
    Returns:
        The content of `per_person.json`, see `compare`; `failed` in it gives the reason by id.
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
        content |= {"fps": fps, **compare(alone, together, fps, None if truth is None else _truth_of(truth, people))}
    content["failed"] = {str(person): reason for person, reason in failed.items()}
    write_json(output / COMPARISON, content)
    if failed:
        reasons = "; ".join(f"person {person}: {reason}" for person, reason in failed.items())
        raise UserError(f"{output}: the joint result is complete, but not everybody can be refined alone ({reasons})")
    return content


def read_person(folder: Path, person: int) -> RefinedPerson:
    """One person of a folder of stage 5. Raises `UserError` if the file is missing or cannot be read."""
    arrays = Arrays(existing_file(person_file(folder, person), f"person {person} of a refinement"))
    contacts = arrays.need("contacts").astype(float)
    return RefinedPerson(
        Track(arrays.need("frame_ids").astype(int), arrays.need("joints").astype(float)[:, :NUM_JOINTS]),
        contacts if contacts.shape[1] == len(FEET) else None,
        float(arrays.need("scale_alpha")),
    )


def compare(
    alone: Mapping[int, RefinedPerson], together: Mapping[int, RefinedPerson], fps: float, truth: Mapping[int, TrueTrack] | None = None
) -> dict[str, Any]:
    """How each person alone differs from the joint run.

    Returns:
        `people` by id, of those who are in `alone`: `distance_mm`, mean distance apart of the joints of the body, each result in its own
        metric world; `root_aligned_distance_mm`, the same once the pelvises are at one place; and for `alone` and `joint`, `scale`,
        `jitter` (10 m/s^3) and `foot_sliding_mm`, the mean step of ankles and feet while they carry according to the joint result.
        With the truth, also `truth` with all of `refinement.metrics.person_metrics` and `scale_error_percent`.
    """
    people = {}
    for person, single in alone.items():
        joint = together[person]
        _, a, j = np.intersect1d(single.track.frames, joint.track.frames, return_indices=True)
        apart, of_joint = single.track.joints[a], joint.track.joints[j]
        people[str(person)] = {
            "distance_mm": abs_mpjpe(apart, of_joint),
            "root_aligned_distance_mm": mpjpe(apart, of_joint),
            "alone": _alone(single, joint, fps),
            "joint": _alone(joint, joint, fps),
        }
        if truth is not None:
            people[str(person)]["truth"] = {name: truth[person].score(found) for name, found in (("alone", single), ("joint", joint))}
    return {"people": people}


@dataclass(frozen=True)
class TrueTrack:
    """What is true of one person of a clip; `row` is theirs in the truth."""

    truth: Truth
    row: int

    def score(self, found: RefinedPerson) -> dict[str, float | None]:
        """The metrics of one result of this person, see `refinement.metrics.person_metrics`, and the error of its scale."""
        frames = found.track.frames
        true, seen = self.truth.joints[self.row, frames], self.truth.visible[self.row, frames]
        scores = person_metrics(found.track, true, seen, self.truth.ground_plane, self.truth.fps)
        return scores | {"scale_error_percent": scale_error_percent(found.scale, self.truth.alpha)}


def print_comparison(name: str, content: Mapping[str, Any]) -> None:
    """The table of a comparison on the terminal, two rows for each person."""
    caption = "mean mm apart, the same with the pelvises at one place, scale, jitter (10 m/s^3), mm that feet slide a frame"
    columns = ["person", "refined", "apart", "posed", "scale", "jitter", "slide"]
    if any("truth" in person for person in content["people"].values()):
        columns.append("error")
        caption += ", mm from the truth"
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
    return {"scale": found.scale, "jitter": jitter(found.track, fps), "foot_sliding_mm": _sliding(found.track, joint)}


def _sliding(track: Track, joint: RefinedPerson) -> float | None:
    """Mean step, mm, of ankles and feet from each frame to the next where the joint result says that they carry on both; None if never."""
    if joint.contacts is None or not np.array_equal(track.frames, joint.track.frames):
        return None
    found = []
    for rows in runs(track.frames):
        carries = joint.contacts[rows] >= _SURE
        step = np.linalg.norm(np.diff(track.joints[rows][:, FEET], axis=0), axis=-1)
        found.append(step[carries[1:] & carries[:-1]])
    together = np.concatenate(found)
    return float(together.mean() * 1e3) if len(together) else None


def _truth_of(path: Path, people: Sequence[int]) -> dict[int, TrueTrack] | None:
    """The truth by id; None, with a warning, where it is of other people."""
    try:
        truth = read_truth(path)
    except UserError as error:
        log.warning("%s; nothing is compared with it", error)
        return None
    if len(truth.joints) != len(people):
        log.warning("%s: %d people, %d were refined; nothing is compared with it", path, len(truth.joints), len(people))
        return None
    return {person: TrueTrack(truth, row) for row, person in enumerate(sorted(people))}


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
