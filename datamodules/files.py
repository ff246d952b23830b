"""Which files a `data.path` means: a file, all pose files below a folder, or those that a glob matches."""

from __future__ import annotations

import glob
import logging
import re
from pathlib import Path

from pose_priors.configs.base import UserError
from pose_priors.datamodules.arrays import SUFFIXES
from pose_priors.datamodules.cache.entry import is_of_an_entry

log = logging.getLogger(__name__)

# what lies beside the motions in AMASS and the body models: shapes, stage-I fits, model files
_NOT_POSES = re.compile(r"shape|(.*_)?stagei|male|female|neutral|(smpl|smplh|smplx|mano)_(male|female|neutral|left|right)", re.IGNORECASE)


def find_files(pattern: str) -> list[Path]:
    """The pose files that `pattern` means, sorted.

    Args:
        pattern: a file, which is taken whatever its name; a folder, searched with its subfolders for known suffixes; or a glob of files and
            folders (`**` allowed). AMASS's files without poses are left out of folders and globs, and so is what a cache of converted
            poses holds, wherever it lies: it would come back as data.
    Raises:
        UserError: if there is none; it says what was looked for.
    """
    if not pattern.strip():
        raise UserError("a path without a name; give a file, a folder or a glob, or built_in for the built-in source")
    try:
        path = Path(pattern).expanduser()
    except RuntimeError as error:  # a user that this machine does not know
        raise UserError(f"'{pattern}': {error}") from error
    try:
        return _found(path, pattern)
    except (OSError, ValueError) as error:  # a name that no file can have, a folder that cannot be looked into
        raise UserError(f"'{pattern}': cannot be looked for ({getattr(error, 'strerror', None) or error})") from error


def _found(path: Path, pattern: str) -> list[Path]:
    if path.is_file():
        return [path]
    roots = [path] if path.is_dir() else [Path(match) for match in glob.glob(str(path), recursive=True)]
    found = {
        file for root in roots for file in (root.rglob("*") if root.is_dir() else [root]) if file.suffix in SUFFIXES and file.is_file()
    }
    # a folder that is named is meant, also where it is one of a cache
    cached = {file for file in found if file.parent != path and is_of_an_entry(file)}
    if cached:
        log.info("'%s': left out %d arrays of a cache of converted poses, such as %s", pattern, len(cached), min(cached))
    poses = sorted(file for file in found - cached if not _NOT_POSES.fullmatch(file.stem))
    for file in sorted(found - cached - set(poses)):
        log.debug("%s holds no poses by its name, skipped", file)
    if not poses:
        kind = "glob" if glob.has_magic(str(path)) else "path that does not exist"
        if path.exists():
            kind = "folder" if path.is_dir() else "pipe or a device"
        kind += " with nothing but a cache of converted poses" if cached else ""
        raise UserError(f"no pose files in '{pattern}' (a {kind}); looked for {', '.join('*' + s for s in SUFFIXES)}, in subfolders too")
    return poses
