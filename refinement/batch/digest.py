"""Whether a result was made from the input and the configuration at hand: digests of what decides it, and what a complete result is.

Files count by their content, not by their date: a dataset that was copied or unpacked anew keeps its results, a file that was changed
within the clock's resolution does not. Reading the files once more costs about a hundredth of refining them.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pose_priors.configs.base import UserError
from pose_priors.priors import prior_files
from pose_priors.refinement.batch.experiment import RefinementExperiment
from pose_priors.refinement.formats.files import read_json
from pose_priors.refinement.result.world import METADATA, world_file
from pose_priors.refinement.result.write import METRICS, RESULTS, person_file

# What of a configuration does not change the outcome: which sequences, where to, what is shown meanwhile, and the machine.
_PROGRAMS = ("stage1", "stage2", "stage3", "gravity", "contacts", "background", "retargeting")
_OUTSIDE = ("output", "logging", "stages", "slurm", "record", *_PROGRAMS)
_OUTSIDE_INPUT = ("path", "pattern", "start_idx", "end_idx", "skip_existing", "mode", "gravity", "contacts", "cameras")
_OUTSIDE_TRAINER = ("accelerator", "devices", "enable_progress_bar")
# What counts by what is in its files.
_PRIORS = (("prior", "body"), ("prior", "hands"), ("motion_prior", "path"))


def config_digest(config: RefinementExperiment) -> str:
    """Names everything in a configuration that changes the outcome, the content of its checkpoints and models included.

    What is not known to leave the outcome alone counts. Raises `UserError` if a file that is named cannot be read.
    """
    tree: dict[str, Any] = {name: value for name, value in config.model_dump(mode="json").items() if name not in _OUTSIDE}
    tree["input"] = {name: value for name, value in tree["input"].items() if name not in _OUTSIDE_INPUT}
    tree["trainer"] = {name: value for name, value in tree["trainer"].items() if name not in _OUTSIDE_TRAINER}
    for section, name in _PRIORS:
        if tree[section][name] is not None:
            tree[section] = tree[section] | {name: _content_of_prior(tree[section][name])}
    if config.body_model.path is not None:
        tree["body_model"] = tree["body_model"] | {"path": _content(Path(config.body_model.path))}
    return hashlib.sha256(json.dumps(tree, sort_keys=True).encode()).hexdigest()


def outcome_digest(config: str, files: Mapping[str, Path]) -> str:
    """Names a result by the digest of its configuration, and by the names and contents of the files that it is made from.

    Raises `UserError` if one cannot be read.
    """
    digest = hashlib.sha256(config.encode())
    for name, path in sorted(files.items()):
        try:
            with path.open("rb") as stream:
                content = hashlib.file_digest(stream, "sha256").digest()
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({error.strerror})") from error
        digest.update(f"{name}\0".encode() + content)
    return digest.hexdigest()


def completed(output: Path, digest: str) -> dict[str, Any] | None:
    """The content of `refinement_results.json` where it says success, bears that digest, and all files of the result are there and whole;
    else None."""
    try:
        results = read_json(output / RESULTS)
    except UserError:
        return None
    if results.get("status") != "success" or results.get("digest") != digest or not (output / METRICS).is_file():
        return None
    files = [person_file(output, int(person)) for person in results["per_person_likelihoods"]]
    return results if _whole(files) else None


def completed_world(folder: Path, digest: str) -> dict[str, Any] | None:
    """The same of the folder of stage 4: the content of its `metadata.json`, or None."""
    try:
        about = read_json(folder / METADATA)
    except UserError:
        return None
    if about.get("status") != "success" or about.get("digest") != digest:
        return None
    return about if _whole([world_file(folder, person) for person in about["people"]]) else None


def _whole(archives: Sequence[Path]) -> bool:
    """Whether all are there; one that was cut off has lost its table of contents."""
    return all(zipfile.is_zipfile(path) for path in archives)


def _content(path: Path) -> str:
    """The digest of a file, or of all files in a folder; their place does not count."""
    path = path.expanduser()
    files = [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else [path]
    return outcome_digest("", {file.relative_to(path).as_posix(): file for file in files})


def _content_of_prior(source: str) -> str:
    """The same of the files of a prior."""
    files = prior_files(source)
    return outcome_digest("", {"." if len(files) == 1 else file.name: file for file in files})
