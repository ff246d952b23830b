"""The recordings of all instances as one, and the script that opens it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path

from pose_priors.configs.writing import written_aside


def combine(recordings: Mapping[str, Path], folder: Path, name: str) -> tuple[Path, Path]:
    """Merges recordings and writes the script that opens them.

    Args:
        recordings: by the name of the instance, below which its entities come.
        folder, name: of `<name>.rrd` and `view_<name>.sh`.
    Returns:
        both files.
    Raises:
        UserError: if one of them is no recording that can be read; the script then opens them beside each other.
    """
    from pose_priors.refinement.show.record import merge_recordings

    combined, script = folder / f"{name}.rrd", folder / f"view_{name}.sh"
    combined.unlink(missing_ok=True)  # one of an earlier run is of other recordings
    _write_script(script, list(recordings.values()))
    merge_recordings(recordings, combined, name)
    _write_script(script, [combined])
    return combined, script


def _write_script(path: Path, files: list[Path]) -> None:
    # behind ./ a name that begins with - is no option
    opened = " ".join(shlex.quote(f"./{file.name}" if file.name.startswith("-") else file.name) for file in files)
    with written_aside(path) as aside:
        aside.write_text(f'#!/usr/bin/env bash\n# Arguments are passed on to rerun.\ncd "$(dirname "$0")" && exec rerun {opened} "$@"\n')
        aside.chmod(0o755)
