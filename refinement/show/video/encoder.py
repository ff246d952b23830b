"""Films: pictures to an mp4, by the ffmpeg that imageio-ffmpeg brings. The one module that imports it, and only when a film is made."""

from __future__ import annotations

import errno
import os
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from pose_priors.configs.base import UserError
from pose_priors.configs.writing import written_aside

_QUALITY = 18  # x264's CRF: what is lost is not seen
_FULL = "No space left on device"


def require_ffmpeg() -> str:
    """The path of ffmpeg. Raises `UserError` if there is none: better before the work than after it."""
    try:
        import imageio_ffmpeg

        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except (ImportError, RuntimeError) as error:
        raise UserError(f"--video needs imageio-ffmpeg, which cannot be used ({error}); pip install 'pose-priors[view]'") from error


def write_mp4(path: Path, pictures: Iterable[np.ndarray], size: tuple[int, int], fps: float) -> None:
    """An mp4 of H.264, 4:2:0, which all players and slides show; it appears whole or not at all.

    Args:
        pictures: (h, w, 3) uint8 each.
        size: w and h, even numbers.
        fps: frames a second.
    Raises:
        UserError: if ffmpeg is not there or fails, or the file cannot be written.
    """
    ffmpeg = require_ffmpeg()
    try:
        with written_aside(path) as aside:
            _encode([ffmpeg, "-y", "-loglevel", "error", *_format(size, fps), str(aside)], pictures, path)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror or error}); give another place by --video") from error


def _format(size: tuple[int, int], fps: float) -> list[str]:
    given = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{size[0]}x{size[1]}", "-r", f"{fps:.10g}", "-i", "-"]
    # yuv420p and BT.709, said and meant: else players guess the colours
    colours = ["-vf", "scale=out_color_matrix=bt709:out_range=tv,format=yuv420p", "-colorspace", "bt709", "-color_range", "tv"]
    return [*given, *colours, "-c:v", "libx264", "-crf", str(_QUALITY), "-preset", "medium", "-movflags", "+faststart", "-f", "mp4"]


def _encode(command: list[str], pictures: Iterable[np.ndarray], path: Path) -> None:
    """Runs ffmpeg; what it says goes to a file, since a pipe that nobody reads would stop it."""
    with tempfile.TemporaryFile() as said, subprocess.Popen(command, stdin=subprocess.PIPE, stdout=said, stderr=said) as process:
        assert process.stdin is not None
        try:
            for picture in pictures:
                process.stdin.write(np.ascontiguousarray(picture).data)
            process.stdin.close()
        except BrokenPipeError:
            pass  # it has ended, and says why
        except BaseException:
            process.kill()
            raise
        failed = process.wait()
        said.seek(0)
        words = said.read().decode(errors="replace").strip()
    if failed and _FULL in words:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
    if failed:
        raise UserError(f"{path}: ffmpeg failed ({(words.splitlines() or ['without a word'])[-1]}); is the place one that it can write to?")
