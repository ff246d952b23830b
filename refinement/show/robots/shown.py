"""The robots of a result: for each person whose motion was retargeted, where the robot's links are on each frame of the clip."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pose_priors.configs.base import UserError, listed
from pose_priors.refinement.formats.files import read_json
from pose_priors.refinement.show.recording_models import FLOOR, RETARGETING, T_world_motion
from pose_priors.refinement.show.review_scene import ShownPerson
from pose_priors.refinement.show.robots.motion import MOTIONS, RobotMotion, is_motion, read_motion
from pose_priors.refinement.show.robots.urdf import Robot, read_urdf

log = logging.getLogger("refine")

URDF = "urdf"
"""Under which the file beside the motions says where the robot's description is."""


@dataclass(frozen=True)
class ShownRobot:
    """The robot of one person.

    Attributes:
        person: the tracker's id.
        robot: what it looks like.
        frames: (n,) numbers of the clip.
        T_world_link: by link, (n, 4, 4) in the world of the result.
    """

    person: int
    robot: Robot
    frames: np.ndarray
    T_world_link: dict[str, np.ndarray]


def find_robots(refined: Path, people: Sequence[ShownPerson], fps: float) -> list[ShownRobot]:
    """The robots of those people whose folder of retargeting holds a motion, where a URDF is known for it: one in that folder, or the one
    that the pipeline was told of. What cannot be shown costs that robot alone, and is told in a line of the log.

    Args:
        refined: the folder of stage 5.
        fps: of the clip.
    """
    found = []
    for person in people:
        folder = refined / RETARGETING / f"person_{person.person:03d}"
        try:
            robot = _robot(folder, person, fps)
        except UserError as error:
            log.warning("person %d: its robot is not shown: %s", person.person, error)
            continue
        if robot is not None:
            found.append(robot)
    return found


def _robot(folder: Path, person: ShownPerson, fps: float) -> ShownRobot | None:
    motion = _motion(folder)
    if motion is None:
        return None
    about = folder.parent / FLOOR
    named = read_json(about).get(URDF)
    files = [*sorted(folder.rglob("*.urdf")), *([Path(named)] if isinstance(named, str) else [])]
    if not files:
        raise UserError(f"{motion.path}: the motion of a robot without a URDF; leave that beside it, or name it in retargeting.urdf")
    robot = read_urdf(files[0])
    if robot.missing:
        log.warning("%s: meshes that are not there, or cannot be shown, are balls: %s", robot.path, listed(robot.missing))
    frames = person.after.frames
    rows = motion.rows(len(frames), fps)
    root = T_world_motion(about) @ motion.T_world_root[rows]
    links = robot.links(motion.positions[rows], motion.names)
    return ShownRobot(person.person, robot, frames, {name: root @ link for name, link in links.items()})


def _motion(folder: Path) -> RobotMotion | None:
    files = [path for path in sorted(folder.rglob("*")) if path.suffix in MOTIONS and path.is_file()] if folder.is_dir() else []
    motions = [path for path in files if is_motion(path)]
    return read_motion(motions[0]) if motions else None
