"""One file of motions cleaned: the file in its own layout, and a report of what was changed, where, and by how much."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pose_priors.body.interpolation import runs
from pose_priors.body.skeleton import JOINT_NAMES
from pose_priors.configs.base import listed
from pose_priors.configs.writing import write_json
from pose_priors.datamodules.arrays import open_arrays
from pose_priors.refinement.motions.config import MotionsConfig
from pose_priors.refinement.motions.files.beside import Completed, broken_frames, completed
from pose_priors.refinement.motions.files.layouts import rows_of
from pose_priors.refinement.motions.files.read import MotionFile, brought_back, read_motions
from pose_priors.refinement.motions.files.write import write_motions, written_name
from pose_priors.refinement.motions.in_camera import seen_again
from pose_priors.refinement.motions.motion import Motion
from pose_priors.refinement.motions.outputs import MADE_FROM, is_of, made_from, refuse, told_when_unwritable
from pose_priors.refinement.motions.repair.fill import Fill, filled
from pose_priors.refinement.motions.restore import BRIDGED, BRIDGED_S, FAULTS, STILL_M, Restored, restore

_REPORT = ".report.json"
_WITHOUT_REPORT = "lies there without a report that says whose it is"


Preview = Callable[[Sequence[tuple[Motion, Restored | None]]], None]
"""Takes the people of a file as they were, and what became of them."""


def report_of(output: Path, name: str) -> Path:
    """Where the report of a clip is, by the clip's path below the output."""
    return output / f"{name}{_REPORT}"


def recording_of(output: Path, name: str) -> Path:
    """Where the recording of what was done to a file lies, if one is asked for."""
    return output / f"{name}.rrd"


def clean_file(
    source: Path, output: Path, name: str, config: MotionsConfig, digest: str, fill: Fill = filled, preview: Preview | None = None
) -> dict[str, Any]:
    """Cleans a file of motions.

    Args:
        source: the file.
        output: a folder, in which the cleaned file goes to `written_name(name)`, and its report to `report_of`.
        digest: of all that decides the outcome; the report keeps it.
        fill: what fills gaps.
        preview: called before the file is written.
    Returns:
        the report.
    Raises:
        UserError: if the file is none of motions, the result cannot be written, or another file's is where it would be.
    """
    _refuse_taken(output, name, source)
    file = read_motions(source, config.fps, config.up_axis)
    found = [restore(person, fill) if person.known.any() else None for person in file.people]
    beside = [[] if restored is None else _beside(file, person) for person, restored in enumerate(found)]
    arrays, told_of_camera = dict(file.arrays), list[str]()
    for person, restored in enumerate(found):
        if restored is not None:
            in_camera, told = seen_again(file, person, restored)
            told_of_camera += told if file.layout.num_people is None else [f"person {person}: {line}" for line in told]
            mine = brought_back(file, person, restored.motion, beside[person]) | in_camera
            if file.layout.num_people is None:
                arrays = mine
            else:
                for key, array in mine.items():
                    arrays[key] = arrays[key].astype(np.result_type(arrays[key], array))
                    arrays[key][person] = array[person]
    claim = {"clip": name, "written": written_name(name), **made_from(source), "digest": None}
    with told_when_unwritable(output):
        report_of(output, name).parent.mkdir(parents=True, exist_ok=True)
        write_json(report_of(output, name), claim)  # first: what a killed run has written is known to be this file's
        if preview is not None:
            preview(list(zip(file.people, found, strict=True)))
        left_out = write_motions(output, name, source, arrays, file.people[0].fps)
        notes = [
            *file.notes,
            *_left(file),
            *told_of_camera,
            *([f"not written, since an npz holds arrays of numbers and of text: {listed(left_out, 12)}"] if left_out else []),
        ]
        report = claim | {
            "digest": digest,
            "layout": file.layout.name,
            "num_frames": file.layout.num_frames,
            "fps": file.people[0].fps,
            "up_axis": file.up,
            "metres_per_unit": file.metres,
            "notes": notes,
            "people": [_told(file, person, restored, beside[person]) for person, restored in enumerate(found)],
        }
        write_json(report_of(output, name), report)
    return report


def summed_up(report: Mapping[str, Any]) -> str:
    """A report in a few words: the faults of all people, and what of them is left."""
    left: dict[str, bool] = {}
    bridged, lost = set(), []
    for person in report["people"]:
        if "faults" not in person:
            lost.append(f"person {person['person']}: {person['status']}")
        for fault, told in person.get("faults", {}).items():
            left[fault] = left.get(fault, True) and not told["num_frames_moved"]
            if any(part["why"] == BRIDGED for part in told["left"]):
                bridged.add(fault)
        for part in person.get("beside", []):
            left[f"missing beside the joints of the body ({part['array']})"] = not part["filled"]
    words = []
    for fault in sorted(left):
        if fault in bridged:
            words.append(f"{fault} (for {BRIDGED_S:g} s or longer: an interpolation stands there, no motion)")
        else:
            words.append(f"{fault} (left, the report says why)" if left[fault] else fault)
    return ", ".join([*words, *lost]) or "nothing is wrong"


def _beside(file: MotionFile, person: int) -> list[Completed]:
    """What a file holds of a person beside the 22 joints, complete."""
    rows = ((part, rows_of(file.arrays[part.name], file.layout, person)[:, part.first :]) for part in file.layout.beside)
    return [completed(part, numbers, file.absent[person]) for part, numbers in rows]


def _left(file: MotionFile) -> list[str]:
    """What of a file's arrays that are not looked at is not finite, one line each."""
    layout, entries = file.layout, open_arrays(file.path) if file.layout.unknown else {}
    lead = (layout.num_frames,) if layout.num_people is None else (layout.num_people, layout.num_frames)
    broken = ((name, *broken_frames(entries[name].load(), lead)) for name in layout.unknown)
    return [
        f"{name} is not finite on {number} of {num} frames: left as it is, since its name and shape do not tell what it is"
        for name, number, num in broken
        if number
    ]


def _told(file: MotionFile, person: int, restored: Restored | None, beside: Sequence[Completed]) -> dict[str, Any]:
    """What became of one person, in numbers that JSON has."""
    if restored is None:
        return {"person": person, "status": "no frame is finite; left as it is"}
    before = file.people[person]
    moved = np.linalg.norm(restored.motion.joints - before.joints, axis=-1).max(1)
    moved[~before.known] = 0
    faults = {}
    for fault in FAULTS:
        marked = restored.marked[fault]
        if marked.any():
            joints = (restored.joints[fault] > 1).any(0)
            by = restored.moved[fault]
            faults[fault] = {
                "num_frames": int(marked.sum()),
                "stretches": _stretches(marked),
                "joints": [JOINT_NAMES[joint] for joint in np.flatnonzero(joints)],
                "path": bool((restored.path[fault][marked] > 1).any()),
                "num_frames_moved": int(restored.mended(fault).sum()),
                "moved_mm": {"mean": _rounded(by[marked].mean() * 1000), "max": _rounded(by.max() * 1000)},
                "left": [{"stretches": _stretches(frames), "why": why} for why, frames in restored.left[fault].items()],
            }
    return {
        "person": person,
        "stature_m": _rounded(before.stature),
        "floor_m": _rounded(before.floor),
        "num_frames_moved": int((moved > STILL_M).sum()),
        "moved_mm": {"mean": _rounded(moved.mean() * 1000), "max": _rounded(moved.max() * 1000)},
        "faults": faults,
        "beside": [_completed(part) for part in beside if part.filled.any() or part.left.any()],
    }


def _completed(beside: Completed) -> dict[str, Any]:
    """What of a person's frames beside the 22 joints was not finite, and what became of it."""
    part = beside.part
    return {
        "array": part.name,
        "numbers": [part.first, part.first + beside.rows.shape[1] - 1],
        "filled": _stretches(beside.filled),
        "by": part.by,
        "left": [{"stretches": _stretches(beside.left), "why": "no frame has it"}] if beside.left.any() else [],
    }


def _stretches(marked: np.ndarray) -> list[list[int]]:
    """First and last frames of the runs of marked ones (T,)."""
    return [[begin, end - 1] for begin, end in runs(marked)]


def _rounded(value: Any) -> float:
    return round(float(value), 3)


def _refuse_taken(output: Path, name: str, source: Path) -> None:
    """Raises `UserError` if a file or a folder that is not of the same source lies where the clean file, its report or its recording would
    be."""
    target, report = output / written_name(name), report_of(output, name)
    recording = recording_of(output, name)
    for path in (target, report, recording):
        if path.is_dir():
            raise refuse(path, source, "is a folder")
    mine = _report(report)
    if mine is not None and not is_of(mine, source):
        raise refuse(report, source, f"tells of what was made from {mine[MADE_FROM[0]]}")
    if mine is None and recording.exists():
        raise refuse(recording, source, _WITHOUT_REPORT)
    if mine is None and target.exists():
        others = (path for path in target.parent.iterdir() if path.name.startswith(f"{target.stem}.") and path.name.endswith(_REPORT))
        made = next(
            (found["clip"] for path in sorted(others) if (found := _report(path)) and found.get("written") == written_name(name)), None
        )
        raise refuse(target, source, _WITHOUT_REPORT if made is None else f"was made from {made}")


def _report(path: Path) -> dict[str, Any] | None:
    """A report, None if there is none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def is_clean(output: Path, name: str, digest: str) -> bool:
    """Whether a clip was cleaned already, from the same bytes with the same settings."""
    report = _report(report_of(output, name))
    return report is not None and report.get("digest") == digest and (output / written_name(name)).is_file()
