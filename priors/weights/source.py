"""What a user may write where a prior is asked for, and which files it means."""

from __future__ import annotations

import os
from pathlib import Path

from pose_priors.priors.weights import hub
from pose_priors.priors.weights.folder import files_of, is_folder
from pose_priors.priors.weights.published import PUBLISHED, folder_of


def located(source: str | Path) -> Path:
    """Where a prior lies on this disk: of an address `hf://...`, which is fetched first; of a name in `PUBLISHED`; or the path itself.

    Raises:
        UserError: if it cannot be fetched, or the package came without it.
    """
    text = str(source)
    if hub.is_address(text):
        return hub.fetched(text)
    return folder_of(text) if text in PUBLISHED else Path(os.path.expanduser(source))  # which leaves users alone that there are none of


def prior_files(source: str | Path) -> tuple[Path, ...]:
    """All files that decide what a prior is: a checkpoint, whether or not it is there; or a description and the weights.

    Raises:
        UserError: as `located`, or if a folder is no folder of weights.
    """
    path = located(source)
    return files_of(path) if is_folder(path) else (path,)


def name_of(source: str | Path) -> str:
    """What a prior is called in tables and pictures: by the folder that it is in, or the end of its address."""
    path = Path(source)
    return path.name if hub.is_address(str(source)) or str(source) in PUBLISHED or os.path.isdir(path) else path.parent.name
