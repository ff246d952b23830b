"""People in the rig of another maker, as that maker's own parameters."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from pose_priors.body.rigs.fit import fit_rig
from pose_priors.body.rigs.model import Rig
from pose_priors.configs.writing import written_aside
from pose_priors.refinement.export.people import AnimatedSkeleton

log = logging.getLogger("export")


def write_rig(path: Path, person: AnimatedSkeleton, fps: float, rig: Rig) -> None:
    """One person as an npz of the rig's parameters by the names that `body_models` has for them, (T, ...) each: `forward_vertices` of them
    is the person, z up, in metres, the floor at z = 0.

    Beside them `rig`, its name, `fps`, `frame_ids`, `visible`, and how far the rig's joints are from the refined ones: `joint_error_mm`
    (T, K) of `joint_names` (K,), SMPL-X's.
    """
    rigged = fit_rig(rig, person.names, person.joints, person.turns, person.rest_joints)
    error = 1e3 * rigged.error
    worst = int(error.mean(0).argmax())
    log.info("person %d: %s's joints are %.1f mm from the refined ones on average, %s %.1f mm", person.person, rig.name, error.mean(),
             rigged.joints[worst], error[:, worst].mean())  # fmt: skip
    with written_aside(path) as aside, aside.open("wb") as stream:
        np.savez(
            stream,
            allow_pickle=False,
            rig=rig.name,
            fps=np.float64(fps),
            frame_ids=person.frames,
            visible=person.visible,
            joint_names=np.array(rigged.joints),
            joint_error_mm=error.astype(np.float32),
            **{name: value.astype(np.float32) for name, value in rigged.parameters.items()},
        )
