"""What the refinement hands back: a folder of files that appears whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pose_priors.configs.base import UserError
from pose_priors.configs.exchange import exchange, staged
from pose_priors.refinement.given.problem import Problem
from pose_priors.refinement.result.output import RefinementOutput

RESULTS, METRICS = "refinement_results.json", "optimization_metrics.json"
"""What came out, and how it went."""
RECORDING = ".rrd"
"""How the names of recordings of a result end, which lie beside it."""
_NUM_BODY = 22
_PARTS = {"jaw_pose": slice(22, 23), "leye_pose": slice(23, 24), "reye_pose": slice(24, 25)} | {
    "left_hand_pose": slice(25, 40),
    "right_hand_pose": slice(40, 55),
}


def person_file(folder: Path, person: int) -> Path:
    """One person's file in the folder of stage 5."""
    return folder / f"person_{person:03d}" / "smpl_params_refined.npz"


def write_result(output_dir: Path, problem: Problem, refined: RefinementOutput) -> None:
    """Writes `person_<id>/smpl_params_refined.npz`, `refinement_results.json` and `optimization_metrics.json`.

    They are made aside and take their places all at once, see `configs.exchange`; an earlier result, and recordings of it, stay until then,
    other files in the folder are left alone.

    Args:
        output_dir: made if it does not exist.
        problem: what was refined.
        refined: what came out; each person's rows from the first to the last frame it was seen on are written. NaN is written as null.
    Raises:
        UserError: if a pose, a joint or the scale is not finite, or the folder cannot be written to.
    """
    people = {person: _arrays(problem, refined, p) for p, person in enumerate(problem.person_ids)}
    for person, arrays in people.items():
        if bad := [name for name, value in arrays.items() if not np.isfinite(value).all()]:
            raise UserError(f"person {person}: {', '.join(bad)} are not finite after the refinement; nothing is written to {output_dir}")
    try:
        with staged(output_dir) as (new, old):
            for person, arrays in people.items():
                path = person_file(new, person)
                path.parent.mkdir()
                np.savez(path, allow_pickle=False, **arrays)
            (new / METRICS).write_text(_json(refined.metrics))
            (new / RESULTS).write_text(_json(refined.results))
            _exchange(new, old, output_dir)
    except OSError as error:
        raise UserError(f"{output_dir}: cannot be written ({error.strerror or error}); give a folder that can be in output.path") from error


def _exchange(new: Path, old: Path, target: Path) -> None:
    exchange(new, old, target, _is_of_a_result)


def _is_of_a_result(name: str) -> bool:
    return name in (RESULTS, METRICS) or name.startswith("person_") or name.endswith(RECORDING)


def _arrays(problem: Problem, refined: RefinementOutput, p: int) -> dict[str, np.ndarray]:
    """The content of one person's file."""
    rows = torch.nonzero(problem.alive[p])[:, 0]
    body = _numpy(refined.body_pose[p, rows.to(refined.body_pose.device)])
    pose = np.concatenate([_numpy(refined.global_orient[p][rows])[:, None], body], 1)
    flat = len(rows), -1
    out = {
        "frame_ids": np.asarray(problem.frame_ids, np.int64)[rows.numpy()],
        "global_orient": pose[:, 0],
        "body_pose": (pose[:, 1:24] if pose.shape[1] == 24 else pose[:, 1:_NUM_BODY]).reshape(flat),
    }
    if pose.shape[1] > 24:
        out |= {name: pose[:, part].reshape(flat) for name, part in _PARTS.items()}
    camera = problem.cameras.w2c[rows].detach().cpu().clone()
    camera[:, :3, 3] *= refined.scale_alpha
    root = _root_offset(problem, refined, p)
    if refined.joint_sigma is not None:
        out["joint_sigma_mm"] = 1e3 * _numpy(refined.joint_sigma[p][rows])
    return out | {
        "betas": _numpy(refined.betas[p]),
        "transl": _numpy(refined.pelvis[p][rows]) - root,
        "joints": _numpy(refined.joints[p][rows]),
        "visible": problem.visible[p, rows].cpu().numpy(),
        "contacts": _numpy(refined.contacts[p][rows]),
        "camera_w2c": _numpy(camera),
        "intrinsics": _numpy(problem.cameras.intrinsics[rows]),
        "ground_plane": _numpy(refined.ground_plane),
        "scale_alpha": np.float64(refined.scale_alpha),
        "scale_delta": np.float64(refined.scale_delta),
    }


def _root_offset(problem: Problem, refined: RefinementOutput, p: int) -> np.ndarray:
    """smplx's J0 at the refined shape: transl is the pelvis less it."""
    offset, directions = (
        value[min(p, len(value) - 1)].cpu() for value in (problem.bodies.root_offset, problem.bodies.root_shape_directions)
    )
    change = (refined.betas[p].detach().cpu() - problem.bodies.betas[p].cpu()).to(directions)
    return _numpy(offset + directions @ change[: directions.shape[-1]])


def _numpy(value: Tensor) -> np.ndarray:
    return value.detach().cpu().to(torch.float32).numpy()


def _json(content: Mapping[str, Any]) -> str:
    return json.dumps(plain(content), indent=1, allow_nan=False) + "\n"


def plain(value: Any) -> Any:
    """Numbers, text and lists as JSON has them, which has no NaN."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, (Tensor, np.ndarray, np.generic)):
        return plain(value.tolist())
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value
