"""Refined people for other tools: `pose-priors export results/my_video --format glb`."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from pose_priors.body.anny.model import SURFACES, AnnyBody, chosen_anny
from pose_priors.body.rigs.model import RIGS, load_rig
from pose_priors.body.smplx_files import load_surface
from pose_priors.body.surface import Surface
from pose_priors.configs.base import UserError
from pose_priors.configs.cli import Parser, run
from pose_priors.configs.exchange import written_folder
from pose_priors.datamodules.plausibility import MAX_FPS, MIN_FPS
from pose_priors.refinement.export.amass import write_amass
from pose_priors.refinement.export.bvh import write_bvh
from pose_priors.refinement.export.coco import write_coco
from pose_priors.refinement.export.gltf import write_glb
from pose_priors.refinement.export.people import Exported, read_people
from pose_priors.refinement.export.rate import BLENDER_TARGET, resampled, whole_rate
from pose_priors.refinement.export.retarget import RATE, at_their_rate, retarget_file, write_retarget
from pose_priors.refinement.export.rig import write_rig
from pose_priors.refinement.export.scene import write_scene
from pose_priors.refinement.export.views import Views, read_views
from pose_priors.refinement.result.found import find_results

log = logging.getLogger("export")

FORMATS = ("amass", "glb", "usd", "bvh", "retarget", "scene", "coco", *RIGS)
"""What can be written."""
_WITH_SURFACE = ("glb", "usd")
_WITH_CAMERAS = ("scene", "coco")


def main(arguments: Sequence[str] | None = None) -> list[Path]:
    """Writes the files; returns their paths."""
    parser = Parser(description=__doc__)
    parser.add_argument("results", nargs="+", type=Path, help="folders of stage 5, of sequences that have one, or of many of these")
    parser.add_argument(
        "--format",
        required=True,
        choices=FORMATS,
        help="amass: SMPL-X npz of each; retarget: the same for GMR and holosoma; glb, usd, bvh; scene: with cameras; coco: keypoints; "
        "mhr, soma, anny: an npz of each in that rig",
    )
    parser.add_argument("--output", type=Path, help="a folder for the files; `exports` in each folder of stage 5 if not given")
    parser.add_argument("--fps", type=float, help="frames a second of the files, between the clip's frames; those of the clip if not given")
    parser.add_argument(
        "--body-model",
        type=Path,
        help="a file or folder in smplx's format, whose surface goes into glb and usd; for mhr, soma and anny the folder of their files",
    )
    parser.add_argument(
        "--surface",
        choices=SURFACES,
        default="auto",
        help="without a body model, people of glb and usd are Anny's where it is installed, or capsules",
    )
    options = parser.parse_args(arguments)
    if options.surface != "auto" and (options.body_model is not None or options.format not in _WITH_SURFACE):
        raise UserError("--surface: goes with --format glb or usd without --body-model, whose surface it would be; leave one of them out")
    if options.body_model is not None and options.format not in (*_WITH_SURFACE, *RIGS):
        raise UserError(f"--body-model: {options.format} holds no surface; it goes with --format glb, usd, {', '.join(RIGS)}")
    if options.fps is not None and options.format == "retarget":
        raise UserError(f"--fps: retargeters take {RATE} frames a second, which --format retarget writes; leave it out")
    if options.fps is not None and options.format in _WITH_CAMERAS:
        raise UserError(f"--fps: {options.format} holds the cameras of the clip's own frames; leave it out")
    if options.fps is not None and not MIN_FPS <= options.fps <= MAX_FPS:
        raise UserError(f"--fps: {options.fps:g}; {MIN_FPS:g} to {MAX_FPS:g} frames a second are expected")
    found = [result for folder in options.results for result in find_results(folder)]
    names = [result.name for result in found]
    if options.output is not None and (twice := sorted({name for name in names if names.count(name) > 1})):
        raise UserError(f"--output: {twice[0]} is there more than once, and would overwrite itself; leave --output out")
    written = []
    for result in found:
        exported = read_people(result.name, result.refined)
        if options.fps is not None:
            exported = resampled(exported, options.fps)
        if options.format == "amass":
            _tell_of_rate(exported)
        views = read_views(result.refined, [person.person for person in exported.people]) if options.format in _WITH_CAMERAS else None
        written += export(
            exported, options.format, options.output or result.refined / "exports", options.body_model, views, options.surface
        )
    for path in written:
        log.info("%s", path)
    return written


def export(
    exported: Exported, to: str, folder: Path, body_model: Path | None = None, views: Views | None = None, surface: str = "auto"
) -> list[Path]:
    """Writes one clip in one of `FORMATS` to a folder, which is made; returns the files.

    Args:
        body_model: as of `load_surface`, for glb and usd; as of `load_rig` for rigs.
        surface: of `SURFACES`, for glb and usd without a body model.
        views: the clip's cameras, for `scene` and `coco`, which need them.
    Raises:
        UserError: if the model or the rig cannot be read, or the folder not be written to.
    """
    wear: Surface | AnnyBody | None = None
    rig = load_rig(to, body_model) if to in RIGS else None
    if to in _WITH_SURFACE:
        wear = chosen_anny(surface) if body_model is None else _surface(exported, body_model)
    try:
        with written_folder(folder, lambda name: False) as new:
            if to == "glb":
                names = [f"{exported.name}.glb"]
                write_glb(new / names[0], exported, wear)
            elif to == "usd":
                from pose_priors.refinement.export.usd import write_usd

                names = [f"{exported.name}.usd"]
                write_usd(new / names[0], exported, wear)
            elif to == "scene" and views is not None:
                names = [f"{exported.name}_scene.json", f"{exported.name}_scene.npz"]
                write_scene(new / names[0], exported, views)
            elif to == "coco" and views is not None:
                names = [f"{exported.name}_coco.json"]
                write_coco(new / names[0], exported, views)
            elif to in _WITH_CAMERAS:
                raise ValueError(f"{to} needs views")
            elif to == "retarget":
                files = [retarget_file(exported.name, person.person) for person in exported.people]
                names = [file.as_posix() for file in files]
                for file, person in zip(files, at_their_rate(exported).people, strict=True):
                    (new / file).parent.mkdir(parents=True, exist_ok=True)
                    write_retarget(new / file, person)
            elif rig is not None:
                names = [f"{exported.name}_person_{person.person:03d}_{to}.npz" for person in exported.people]
                for name, person in zip(names, exported.people, strict=True):
                    write_rig(new / name, person, exported.fps, rig)
            else:
                write, suffix = (write_amass, "npz") if to == "amass" else (write_bvh, "bvh")
                names = [f"{exported.name}_person_{person.person:03d}.{suffix}" for person in exported.people]
                for name, person in zip(names, exported.people, strict=True):
                    write(new / name, person, exported.fps)
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({error.strerror or error}); give a folder that can be by --output") from error
    return [folder / name for name in names]


def _tell_of_rate(exported: Exported) -> None:
    fps = whole_rate(exported.fps)
    if fps != exported.fps:
        log.warning("%s: %.6g frames a second are written as %g, which the SMPL-X Blender add-on takes", exported.name, exported.fps, fps)
    if fps % BLENDER_TARGET:
        log.warning(
            "%s: %g frames a second; set Target framerate to %d in the SMPL-X Blender add-on, or export with --fps %d",
            exported.name,
            fps,
            int(fps),
            BLENDER_TARGET,
        )


def _surface(exported: Exported, path: Path) -> Surface:
    """The surface of the model that fits the bodies best of those in a folder."""
    kinds = ("smpl", "smplh", "smplx") if len(exported.people[0].parents) == 24 else ("smplx", "smplh", "smpl")
    return load_surface(path, max(len(person.betas) for person in exported.people), kinds)


if __name__ == "__main__":
    run(main)
