"""The recordings of all instances as one, and the script that opens it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from pose_priors.configs.writing import written_aside


def combine_tracking_results(recordings: Mapping[str, Path], folder: Path, name: str) -> tuple[Path, Path]:
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
    create_viewing_script(list(recordings.values()), script)
    merge_recordings(recordings, combined, name)
    return combined, create_viewing_script([combined], script)


def combine_rrd_files_python(rrd_files: Sequence[Path], output_rrd: Path) -> Path:
    """Merges recordings into one, each below the name of its file without `.rrd`; returns it. Raises `UserError` as above."""
    from pose_priors.refinement.show.record import merge_recordings

    merge_recordings({path.stem: path for path in rrd_files}, output_rrd, output_rrd.stem)
    return output_rrd


def create_viewing_script(rrd_files: Sequence[Path], script_path: Path) -> Path:
    """Writes a script that opens recordings of its own folder with `rerun`; returns it."""
    # behind ./ a name that begins with - is no option
    opened = " ".join(shlex.quote(f"./{file.name}" if file.name.startswith("-") else file.name) for file in rrd_files)
    with written_aside(script_path) as aside:
        aside.write_text(f'#!/usr/bin/env bash\n# Arguments are passed on to rerun.\ncd "$(dirname "$0")" && exec rerun {opened} "$@"\n')
        aside.chmod(0o755)
    return script_path
