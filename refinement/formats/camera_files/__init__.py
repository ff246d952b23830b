"""Cameras, and depth where there is any, that a program of its own found: what `input.cameras` names beside the result of a tool.

A format is a module with `NAME`, `detect` and `read`, and one line in `CAMERA_FORMATS`. Files are known by their content.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Protocol

import numpy as np

from pose_priors.configs.base import UserError, reason_of
from pose_priors.refinement.formats.camera_files import droid, megasam, odometry, results, vggt, vipe
from pose_priors.refinement.formats.camera_files.contents import contents_of
from pose_priors.refinement.formats.camera_files.poses import CameraFile
from pose_priors.refinement.formats.source import Source
from pose_priors.refinement.formats.witnesses.beside import files_in

log = logging.getLogger("refine")


class CameraFormat(Protocol):
    """The cameras that one program writes.

    Attributes:
        NAME: of the program.
    """

    NAME: str

    def detect(self, source: Source) -> bool:
        """Whether the program wrote this. Raises `UserError` if a file cannot be read."""

    def read(self, source: Source, image_size: tuple[int, int], warnings: list[str]) -> CameraFile:
        """The cameras, with intrinsics of the image of that width and height. Raises `UserError` if the file is not as it is written."""


CAMERA_FORMATS: tuple[CameraFormat, ...] = (vipe, megasam, vggt, droid, results, odometry)
"""The known formats; the first that wrote a file reads it."""


def files_of_cameras(path: Path) -> dict[str, Path]:
    """The files that a path of cameras is read from, by their places in it. Raises `UserError` if there are too many."""
    files = files_in(path)
    if not path.is_dir():  # what lies beside a file of ViPE's
        files += [file for pattern in vipe.BESIDE for file in path.parent.parent.glob(pattern.format(path.stem)) if file.is_file()]
    home = path if path.is_dir() else path.parent.parent
    return {file.relative_to(home).as_posix(): file for file in files}


def read_camera_file(path: Path, image_size: tuple[int, int], warnings: list[str]) -> CameraFile:
    """The cameras in a file or folder.

    Args:
        image_size: width and height in pixels of the clip's image, which intrinsics and depth are brought to.
        warnings: takes a line for each fault that was mended.
    Raises:
        UserError: if there is no such path, none of the known programs writes such a thing, or something in it is not as it is written.
    """
    if not os.path.exists(path):  # also of a name that no file can have
        raise UserError(f"input.cameras={path}: no such file or folder")
    source = Source(path)
    found = next((form for form in CAMERA_FORMATS if form.detect(source)), None)
    if found is None:
        known = ", ".join(form.NAME for form in CAMERA_FORMATS)
        raise UserError(f"input.cameras={path}: no cameras of {known}; it holds {contents_of(source)}")
    try:
        return found.read(source, image_size, warnings)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, np.linalg.LinAlgError) as error:
        log.debug("the reader of %s", found.NAME, exc_info=True)
        raise UserError(
            f"input.cameras={path}: not as {found.NAME} writes it ({type(error).__name__}: {reason_of(error)}); is it complete?"
        ) from error
