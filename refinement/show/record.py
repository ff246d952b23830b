"""Recordings of refinements: `pose-priors record results/my_video`, then `rerun results/my_video/5_refinement/my_video.rrd`.

The one module that imports rerun, and only when a recording is made.
"""

from __future__ import annotations

import argparse
import itertools
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pose_priors.body.anny import model as anny_model
from pose_priors.configs.base import UserError, reason_of
from pose_priors.configs.cli import Parser, run
from pose_priors.configs.exchange import check_writable
from pose_priors.configs.writing import written_aside
from pose_priors.priors import Prior
from pose_priors.refinement.given.priors import load_priors
from pose_priors.refinement.result.found import RefinedSequence, find_results
from pose_priors.refinement.show import recording_shapes as shapes
from pose_priors.refinement.show import recording_style as style
from pose_priors.refinement.show.motions import ShownMotion, draw_motions
from pose_priors.refinement.show.points import PointFilter, add_filters, filter_of
from pose_priors.refinement.show.recording_data import RecordingData, read_recording_data
from pose_priors.refinement.show.recording_drawing import Drawing
from pose_priors.refinement.show.recording_files import recording_files, replaced
from pose_priors.refinement.show.recording_models import Model, find_models
from pose_priors.refinement.show.recording_pictures import encoded
from pose_priors.refinement.show.recording_pipe import Recorder, piped
from pose_priors.refinement.show.review_scene import ShownPerson
from pose_priors.refinement.show.robots.shown import ShownRobot, find_robots
from pose_priors.refinement.show.video.film import check_place, write_picture, write_video

if TYPE_CHECKING:
    import rerun.blueprint as rrb

log = logging.getLogger("refine")

_POINTS = 2500
_BATCH = 64  # frames whose pictures are held at once
_BACKGROUND = PointFilter(consistent=True)


def require_rerun() -> None:
    """Raises `UserError` if rerun cannot be imported: better before the work than after it."""
    try:
        import rerun  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"a recording needs rerun, which cannot be imported ({error}); pip install 'pose-priors[view]', or leave it out"
        ) from error


def write_recordings(
    result: RefinedSequence,
    output: Path | None = None,
    *,
    prior: Prior | None = None,
    body_model: Path | None = None,
    images: Path | None = None,
    num_points: int = _POINTS,
    wanted: PointFilter = _BACKGROUND,
    surface: str = "capsules",
) -> list[Path]:
    """Writes `<name>_person_<id>.rrd` for each person, and `<name>.rrd` of all people in one scene and one timeline. Files appear
    whole or not at all.

    Args:
        output: a folder; None for that of the result. A new result of the sequence takes those there away, since they show the old one.
        prior: a body prior that judges the joints, or None.
        body_model: a file or folder in smplx's format, for the people's skin, or None.
        images: a folder of images, see `recording_pictures.find_images`.
        num_points: at most, of each depth map; wanted: which of them.
        surface: `anny` for Anny's skin where there is no body model; else there is none.
    Raises:
        UserError: if the result cannot be read, rerun is not installed, or the folder cannot be written to.
    """
    require_rerun()
    anny = anny_model.load_anny() if surface == "anny" and body_model is None else None
    data = read_recording_data(result, prior, images, body_model, anny)
    if data.scene.missing:
        log.warning("%s: %s; how it was before, and depth, are left out", data.name, data.scene.missing)
    folder, people = output or result.refined, [person.person for person in data.scene.people]
    with replaced(folder, data.name, people) as paths:
        robots = find_robots(result.refined, data.scene.people, data.scene.fps)
        _draw(paths, data, find_models(result.refined), robots, num_points, wanted)
    return recording_files(folder, data.name, people)


def record_motions(path: Path, people: Sequence[ShownMotion], fps: float) -> None:
    """Writes a recording of motions before and after they were cleaned; the file appears whole or not at all.

    Raises:
        UserError: if rerun is not installed.
    """
    require_rerun()
    import rerun as rr

    path.parent.mkdir(parents=True, exist_ok=True)
    with written_aside(path) as aside:
        stream = rr.RecordingStream("motions", recording_id=path.stem)
        recorder = Recorder(stream, aside)
        draw_motions(rr, stream, people, fps)
        recorder.finish()


def merge_recordings(files_by_name: Mapping[str, Path], output: Path, application_id: str) -> None:
    """Merges recordings into one, on the timelines that they share; the entities of each come below its name. Blueprints do not come along.

    Args:
        output: appears whole or not at all.
        application_id: of the recording that is made, and its id.
    Raises:
        UserError: if rerun is not installed, one of the files is no recording that it can read, or the disk is full.
    """
    require_rerun()
    import rerun as rr
    from rerun.chunk import Chunk, ChunkStore, RrdReader

    chunks: list[Chunk] = []
    for name, path in files_by_name.items():
        below, before = f"/{rr.escape_entity_path_part(name)}", len(chunks)
        try:
            reader = RrdReader(path)
            for store in reader.recordings():
                chunks += [
                    chunk.with_entity_path(below + chunk.entity_path.rstrip("/"))
                    for chunk in reader.stream(store=store)
                    if not chunk.entity_path.startswith("/__properties")
                ]
        except (RuntimeError, ValueError) as error:
            wanted = "write it with rerun-sdk 0.23.4 or newer"
            raise UserError(f"{path}: no recording that rerun {rr.__version__} reads ({reason_of(error)}); {wanted}") from error
        if len(chunks) == before:
            raise UserError(f"{path}: a recording without anything in it")
    with written_aside(output) as aside, piped(aside) as entrance:
        ChunkStore.from_chunks(chunks).write_rrd(entrance, application_id=application_id, recording_id=application_id)


def _draw(
    paths: Sequence[Path],
    data: RecordingData,
    models: Sequence[Model],
    robots: Sequence[ShownRobot],
    num_points: int,
    wanted: PointFilter,
) -> None:
    """One stream for each file, all open at once: pictures and depth maps are read once for all of them."""
    import rerun as rr

    drawings, recorders = [], []
    for path, people in zip(paths, [*([person] for person in data.scene.people), data.scene.people], strict=True):
        stream = rr.RecordingStream("refinement", recording_id=path.stem)
        recorders.append(Recorder(stream, path, default_blueprint=_blueprint(data, people)))
        drawings.append(Drawing(rr, stream, data))
        drawings[-1].draw_still()
        shown = {None, *(person.person for person in people)}
        drawings[-1].draw_models([model for model in models if model.person in shown])
        drawings[-1].draw_robots([robot for robot in robots if robot.person in shown])
        for person in people:
            drawings[-1].draw_person(person)
    width = data.cameras.image_size[0]
    views_of_clip = data.views(num_points, wanted)
    while views := list(itertools.islice(views_of_clip, _BATCH)):
        pictures = [None if view.picture is None else encoded(view.picture) for view in views]
        width = next((view.picture.shape[1] for view in views if view.picture is not None), width)
        for drawing in drawings:
            drawing.draw_views(views, pictures)
    for drawing in drawings:
        drawing.draw_cameras(width)
    for recorder in recorders:
        recorder.finish()


def _blueprint(data: RecordingData, people: Sequence[ShownPerson]) -> rrb.Blueprint:
    import rerun.blueprint as rrb

    eye, target, up = shapes.viewpoint(data)
    who = "all people" if len(people) == len(data.scene.people) > 1 else ", ".join(f"person {person.person}" for person in people)
    scene = rrb.Spatial3DView(
        origin="/world",
        name=f"{data.name}: {who}",
        background=style.BACKGROUND,
        line_grid=False,
        eye_controls=rrb.EyeControls3D(position=eye, look_target=target, eye_up=up),
    )
    camera = rrb.Spatial2DView(
        origin="/world/camera",
        name="camera",
        contents=["/world/**", *(f"- /world/{entity}" for entity in ("depth", "cloud", "path", "floor"))],
    )
    curves = (
        rrb.TimeSeriesView(origin="/shake", name="shake, m/s²"),
        rrb.TimeSeriesView(origin="/losses/total", name="loss (timeline iteration)"),
        rrb.TimeSeriesView(origin="/losses", contents=["$origin/**", "- /losses/total/**"], name="terms (timeline iteration)"),
    )
    about = rrb.TextDocumentView(origin="/about", name="about")
    return rrb.Blueprint(
        rrb.Horizontal(scene, rrb.Vertical(camera, rrb.Tabs(*curves), about, row_shares=[6, 4, 5]), column_shares=[3, 2]),
        rrb.BlueprintPanel(state="collapsed"),
        rrb.SelectionPanel(state="collapsed"),
        rrb.TimePanel(state="collapsed", timeline="frame", fps=data.scene.fps, loop_mode="all", play_state="paused"),
        auto_views=False,
    )


def _film(found: Sequence[RefinedSequence], options: argparse.Namespace) -> list[Path]:
    """Makes the film, and the picture of one, that are asked for; returns them."""
    asked = "--picture" if options.video is None else "--video"
    if len(found) > 1:
        raise UserError(f"{asked}: a film shows one result; of {', '.join(result.name for result in found)} name one")
    for name in ("output", "prior"):
        if getattr(options, name) is not None:
            raise UserError(f"--{name}: goes with recordings, not with {asked}; leave one of both out")
    looks = options.images, options.body_model, options.surface or "auto"
    if options.video is not None:
        check_place("--video", options.video, ".mp4")  # before the picture is made
    if options.picture is not None:
        write_picture(found[0], options.picture, options.frame, *looks)
    if options.video is not None:
        write_video(found[0], options.video, *looks)
    written = [path for path in (options.picture, options.video) if path is not None]
    for path in written:
        log.info("%s: %s", found[0].name, path)
    return written


def main(arguments: Sequence[str] | None = None) -> list[Path]:
    """Records the refined sequences that are named, and returns the files."""
    parser = Parser(description=__doc__)
    parser.add_argument("results", nargs="+", type=Path, help="folders of refined sequences, or of many of them")
    parser.add_argument("--input", type=Path, help="the sequence, or the folder of sequences, where results lie elsewhere")
    parser.add_argument("--output", type=Path, help="a folder for the recordings; each result's own by default")
    parser.add_argument("--prior", help="a checkpoint of a body prior, which judges the joints")
    parser.add_argument("--body-model", type=Path, help="a file or folder in smplx's format, for the people's skin")
    parser.add_argument(
        "--surface", choices=anny_model.SURFACES, help="without a body model: Anny's skin; films wear it where it is installed, or capsules"
    )
    parser.add_argument("--images", type=Path, help="a folder of numbered images; images, frames or img in the sequence's by default")
    parser.add_argument("--video", type=Path, help="an .mp4 of one result, before and after side by side, instead of recordings")
    parser.add_argument("--picture", type=Path, help="a .png of one frame of that film; goes with --video or without it")
    parser.add_argument("--frame", type=int, help="its number; the one in the middle if not given")
    parser.add_argument("--points", type=int, default=_POINTS, help="at most, of each depth map")
    add_filters(parser)
    options = parser.parse_args(arguments)
    if options.points < 1:
        raise UserError(f"--points {options.points}: a number of at least 1 is expected")
    if options.surface is not None and options.body_model is not None:
        raise UserError("--surface: people wear the surface of --body-model; leave one of both out")
    if options.frame is not None and options.picture is None:
        raise UserError(f"--frame {options.frame}: is that of a picture; give --picture FILE.png too")
    as_film = options.video is not None or options.picture is not None
    if not as_film:
        require_rerun()
    found = [result for folder in options.results for result in find_results(folder, options.input)]
    if as_film:
        return _film(found, options)
    for folder in {options.output or result.refined: None for result in found}:
        check_writable(folder)
    prior = load_priors(body=options.prior).body
    looks = {"prior": prior, "body_model": options.body_model, "images": options.images, "num_points": options.points}
    looks["surface"] = options.surface or "capsules"
    looks["wanted"] = filter_of(options)
    files: list[Path] = []
    failed: list[str] = []
    for result in found:
        try:
            files += write_recordings(result, options.output, **looks)
            log.info("%s: %s", result.name, files[-1])
        except UserError as error:
            if len(found) == 1:
                raise
            log.error("error: %s: %s", result.name, error)
            failed.append(result.name)
    if failed:
        raise UserError(f"{len(failed)} of {len(found)} results could not be recorded: {', '.join(failed)}")
    return files


if __name__ == "__main__":
    run(main)
