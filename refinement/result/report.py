"""A refined clip against the truth: people before and after, and the table that is printed."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from pose_priors.body.pinhole import to_world
from pose_priors.configs.base import UserError
from pose_priors.configs.exchange import written_beside
from pose_priors.configs.writing import write_json
from pose_priors.datamodules.stage_folders import STAGES
from pose_priors.figures.drawing import PAPER_DPI, draw_scene
from pose_priors.figures.scenes import draw_paths
from pose_priors.refinement.formats.bodies import read_bodies
from pose_priors.refinement.formats.cameras import read_cameras
from pose_priors.refinement.formats.files import existing_folder
from pose_priors.refinement.formats.numbering import matched
from pose_priors.refinement.result.metrics import NUM_JOINTS, Track, distance_error, scale_error_percent
from pose_priors.refinement.result.people import people_in, read_person
from pose_priors.refinement.result.truth import Truth, read_truth

_DECIMALS = 2

log = logging.getLogger("evaluate")


def read_before(scene: Path, warnings: list[str]) -> list[Track]:
    """The people of stage 3 in ascending order of their ids, carried into the world by the cameras of stage 1 at scale 1. Frames have the
    numbers that a refinement gives them."""
    stage1, stage2, stage3 = (scene / STAGES[stage] for stage in (1, 2, 3))
    folder = existing_folder(stage3, "pose estimation (stage 3)")
    cameras, shifts = matched(read_cameras(stage1, warnings), stage1, stage2 if stage2.is_dir() else None, folder, warnings)
    people, _ = read_bodies(folder, "camera", cameras.frame_ids, warnings, {}, shifts.bodies)
    tracks = []
    for body in people.values():
        if body.joints is None:
            raise UserError(f"{body.source}: no joints_camera.npy beside it; without it there is nothing to compare the refinement with")
        w2c = cameras.w2c[np.searchsorted(cameras.frame_ids, body.frames)]
        tracks.append(Track(body.frames, to_world(body.joints[:, :NUM_JOINTS], w2c)))
    return tracks


def read_after(refined: Path) -> tuple[list[Track], float]:
    """The people of a refinement in ascending order of their ids, and its scale."""
    existing_folder(refined, "a refinement (stage 5)")
    people = [read_person(refined, person) for person in people_in(refined)]
    return [person.track.body for person in people], people[-1].scale_alpha if people else float("nan")


def evaluate_scene(scene: Path, truth_path: Path, refined: Path | None, output: Path | None) -> dict[str, Any]:
    """Scores a clip before and after its refinement, prints the table, and writes `metrics.json`, `scene.png` and `figure_paths.png`.

    Args:
        scene: the folder of stages 1 and 3.
        truth_path: npz of the truth.
        refined: the folder of stage 5; None for `5_refinement` in the scene.
        output: a folder; None to write nothing.
    Returns:
        {before, after: {metric: mean over people}, people: [{before, after}]}.
    """
    warnings: list[str] = []
    truth, before = read_truth(truth_path), read_before(scene, warnings)
    after, alpha = read_after(refined or scene / "5_refinement")
    before, after = _counted_from_zero(before, after, truth, warnings)
    for line in warnings:
        log.warning("%s", line)
    for tracks, source in ((before, scene / "3_pose_estimation"), (after, refined or scene / "5_refinement")):
        _check(tracks, truth, source, truth_path)
    metrics = before_and_after(before, after, alpha, truth)
    _print_table(
        metrics, f"{scene.name}: {len(before)} people, {truth.joints.shape[1]} frames; distances in mm unless the name says otherwise"
    )
    if output is not None:
        with written_beside(output) as new:
            write_json(new / "metrics.json", metrics)
            draw_scene(_versions(before, after, truth), truth.ground_plane[:3]).savefig(new / "scene.png", dpi=110)
            draw_paths(_versions(before, after, truth), truth.ground_plane).savefig(new / "figure_paths.png", dpi=PAPER_DPI)
    return metrics


def before_and_after(before: Sequence[Track], after: Sequence[Track], alpha: float, truth: Truth) -> dict[str, Any]:
    """The metrics of both, for each person and on average over people who have them; see `metrics.person_metrics`."""
    people = [
        {name: truth.score(track, p) for name, track in (("before", b), ("after", a))}
        for p, (b, a) in enumerate(zip(before, after, strict=True))
    ]
    out: dict[str, Any] = {}
    for name, tracks, scale in (("before", before, 1.0), ("after", after, alpha)):
        scores = [person[name] for person in people]
        found = {key: [value for score in scores if (value := score[key]) is not None] for key in scores[0]}
        out[name] = {key: float(np.mean(values)) if values else None for key, values in found.items()} | {
            "distance_error_mm": distance_error(tracks, [truth.joints[p, track.frames] for p, track in enumerate(tracks)]),
            "scale_error_percent": scale_error_percent(scale, truth.alpha),
            "coverage_percent": 100 * sum(len(track.frames) for track in tracks) / truth.visible.size,
        }
    return out | {"people": people}


def _counted_from_zero(before: list[Track], after: list[Track], truth: Truth, warnings: list[str]) -> tuple[list[Track], list[Track]]:
    """People whose frames are counted from 1, as ffmpeg's pictures are, in the truth's numbers, which begin with 0."""
    frames = np.concatenate([track.frames for track in (*before, *after)]) if before or after else np.zeros(1, int)
    if frames.max() != truth.joints.shape[1] or frames.min() < 1:
        return before, after
    warnings.append(f"the people's frames end with {frames.max()}, the truth's with {frames.max() - 1}: they are counted from 1")
    first, second = ([Track(track.frames - 1, track.joints) for track in tracks] for tracks in (before, after))
    return first, second


def _check(tracks: Sequence[Track], truth: Truth, source: Path, truth_path: Path) -> None:
    num_people, num_frames = truth.joints.shape[:2]
    if len(tracks) != num_people:
        raise UserError(f"{source}: {len(tracks)} people, but {truth_path} has {num_people}; is it the truth of this scene?")
    last = max(int(track.frames[-1]) for track in tracks)
    if last >= num_frames:
        raise UserError(f"{source}: frame {last}, but {truth_path} ends with frame {num_frames - 1}; is it the truth of this scene?")


def _print_table(metrics: dict[str, Any], title: str) -> None:
    table = Table(title=title)
    table.add_column("metric")
    for column in ("before", "after", "after / before"):
        table.add_column(column, justify="right")
    for name, after in metrics["after"].items():
        before = metrics["before"][name]
        ratio = after / before if before and after is not None else None
        table.add_row(name, *("-" if value is None else f"{value:.{_DECIMALS}f}" for value in (before, after, ratio)))
    Console().print(table)


def _versions(before: Sequence[Track], after: Sequence[Track], truth: Truth) -> list[dict[str, tuple[np.ndarray, np.ndarray]]]:
    everywhere = np.arange(truth.joints.shape[1])
    return [
        {"truth": (everywhere, truth.joints[p]), "before": (b.frames, b.joints), "after": (a.frames, a.joints)}
        for p, (b, a) in enumerate(zip(before, after, strict=True))
    ]
