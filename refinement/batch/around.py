"""Programs of others beside the stages of a video: what they know of it goes into stage 5, what that has refined goes to others."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pose_priors.configs.writing import write_json
from pose_priors.refinement.batch.commands import PipelineConfig, ProgramCommand
from pose_priors.refinement.batch.digest import outcome_digest
from pose_priors.refinement.batch.programs import check_end, running
from pose_priors.refinement.batch.stage_outputs import begin, complete, completed
from pose_priors.refinement.batch.videos import Video
from pose_priors.refinement.export.amass import write_amass
from pose_priors.refinement.export.people import read_people, upright
from pose_priors.refinement.export.retarget import at_their_rate, retarget_file, write_retarget
from pose_priors.refinement.formats.witnesses.beside import Witness
from pose_priors.refinement.result.people import read_person
from pose_priors.refinement.result.write import RESULTS
from pose_priors.refinement.show.recording_models import BACKGROUND, FLOOR, RETARGETING
from pose_priors.refinement.show.robots.shown import URDF

log = logging.getLogger("refine")


def run_before(config: PipelineConfig, video: Video, *, in_job: bool = False) -> None:
    """Runs the programs that are configured to say which way is up, and when feet touch, into `gravity` and `contacts` in a video's folder,
    where stage 5 looks for them; what is complete and made from the same is left alone.

    Raises:
        UserError: if a program fails or leaves nothing.
    """
    sequence = video.sequence
    programs: tuple[tuple[Witness, ProgramCommand], ...] = (("gravity", config.gravity), ("contacts", config.contacts))
    for name, command in programs:
        if command.command is not None:
            made_of = dict(video.files()) if video.path.exists() else {}
            for stage in (stage for stage in (1, 2) if f"stage{stage}" in command.places):
                folder = sequence.stage(stage)
                made_of |= {f"{stage}/{path.name}": path for path in sorted(folder.glob("*")) if path.is_file() and path.name[0] != "."}
            places = {"video": video.path, "stage1": sequence.stage(1), "stage2": sequence.stage(2)}
            _run(name, command, video, video.root / name, places, made_of, in_job=in_job)


def run_around(config: PipelineConfig, video: Video, *, in_job: bool = False) -> None:
    """Runs the programs that are configured on a video that stage 5 has refined; what is complete and made from the same is left alone.

    Each has a folder below that of stage 5: `background`, and `retargeting/person_<id>` for each person, whose motion it is given as an npz
    (SMPL-X in AMASS's layout, z up, the floor at z = 0) and whose floor as JSON.

    Raises:
        UserError: if a program fails or leaves nothing, or the result cannot be read.
    """
    refined = video.sequence.output
    if config.background.command is not None:
        cameras = {path.name: path for path in sorted(video.sequence.stage(1).glob("*")) if path.is_file()}
        places = {"video": video.path, "stage1": video.sequence.stage(1), "refined": refined}
        made_of = cameras | {RESULTS: refined / RESULTS}
        _run(BACKGROUND, config.background, video, refined / BACKGROUND, places, made_of, in_job=in_job)
    if config.retargeting.command is not None:
        exported, floor = read_people(video.name, refined), refined / RETARGETING / FLOOR
        if config.retargeting.layout == "retarget":
            exported = at_their_rate(exported)
        floor.parent.mkdir(exist_ok=True)
        robot = {} if config.retargeting.urdf is None else {URDF: str(Path(config.retargeting.urdf).expanduser().resolve())}
        write_json(floor, _floor(refined, exported.people[0].person) | robot)
        for person in exported.people:
            folder = refined / RETARGETING / f"person_{person.person:03d}"
            given = folder.parent / f".given_{person.person:03d}"
            given.mkdir(exist_ok=True)
            if config.retargeting.layout == "retarget":
                motion = given / retarget_file(video.name, person.person)
                motion.parent.mkdir(parents=True, exist_ok=True)
                write_retarget(motion, person)
            else:
                motion = given / "motion.npz"
                write_amass(motion, person, exported.fps)
            places = {"motion": motion, "motions": given, "floor": floor, "person": Path(f"{person.person:03d}")}
            _run(RETARGETING, config.retargeting, video, folder, places, {"motion": motion, "floor": floor}, in_job=in_job)


def _floor(refined: Path, person: int) -> dict[str, Any]:
    """The floor of the world of motions, and what carries that world to the one of the result."""
    turn, shift = upright(read_person(refined, person).ground_plane)
    back = np.block([[turn.T, -(turn.T @ shift)[:, None]], [np.zeros((1, 3)), np.ones((1, 1))]])
    return {"up": [0.0, 0.0, 1.0], "height": 0.0, "T_world_motion": back.tolist()}


def _run(
    name: str,
    command: ProgramCommand,
    video: Video,
    folder: Path,
    places: Mapping[str, Path],
    made_of: Mapping[str, Path],
    *,
    in_job: bool,
) -> None:
    digest = outcome_digest(hashlib.sha256(json.dumps([name, command.command]).encode()).hexdigest(), made_of)
    if completed(folder, None, digest) is not None:
        log.info("%s: %s is complete, skipped", video.name, folder.name)
        return
    begin(folder)
    printed = video.root / "logs" / f"{name}{'' if folder.name == name else f'_{folder.name}'}.log"
    words = command.words({place: str(path) for place, path in places.items()} | {"output": str(folder)})
    with running(f"{video.name}: {name}", name, words, printed, in_job=in_job) as process:
        process.wait()
    check_end(name, process.returncode, printed)
    complete(folder, None, digest, None)


def is_wanted(config: PipelineConfig) -> bool:
    """Whether any such program is configured."""
    return config.background.command is not None or config.retargeting.command is not None
