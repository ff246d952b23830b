"""One npz of many instances taken apart into one for each, which tools read that know a single instance only."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from pose_priors.configs.base import UserError
from pose_priors.refinement.instances.archive import InstanceArchive, camera_masks

log = logging.getLogger("instances")

MASK_KEY = "sam2_masks"
"""Where the masks are if nothing else is said."""
_SCENE = ("rgbs", "depths", "intrs", "extrs", "camera_ids", "timestamps", "gripper_states", "robot_states")


def get_mask_instance_ids(npz_path: Path, mask_key: str = MASK_KEY) -> list[str]:
    """The names of the instances in an npz, sorted, numbers in them by size. Raises `UserError` as `InstanceArchive` does."""
    return InstanceArchive(npz_path, mask_key).instance_ids


def create_single_instance_npz(
    input_npz_path: Path, instance_id: str, output_npz_path: Path, mask_key: str = MASK_KEY, keep_all_data: bool = True
) -> Path:
    """Writes an npz in which the dict of masks has one instance alone.

    Everything else is carried along as it is; `instance_id` and `original_file` are added, both text.

    Args:
        input_npz_path: of many instances.
        instance_id: the one that is kept, under its own name.
        output_npz_path: appears whole or not at all.
        mask_key: the key of the masks.
        keep_all_data: with false, of everything else only pictures, depth, cameras, times and the states of a robot are carried along.
    Returns:
        `output_npz_path`.
    Raises:
        UserError: if there is no such instance, the file cannot be read, or a pickle in it is refused.
    """
    return _write(InstanceArchive(input_npz_path, mask_key), instance_id, Path(output_npz_path), keep_all_data)


def split_npz_by_instances(input_npz_path: Path, output_dir: Path, mask_key: str = MASK_KEY, suffix: str = "") -> dict[str, Path]:
    """Writes one npz for each instance, see `create_single_instance_npz`.

    Returns:
        the files by instance, in order: `<name of the input>_<instance><suffix>.npz` in `output_dir`.
    Raises:
        UserError: if the file cannot be read, or a pickle in it is refused.
    """
    archive = InstanceArchive(input_npz_path, mask_key)
    paths = instance_paths(archive, Path(output_dir), suffix)
    for instance, path in paths.items():
        _write(archive, instance, path)
    return paths


def verify_instance_npz(npz_path: Path, expected_instance_id: str, mask_key: str = MASK_KEY) -> bool:
    """Whether an npz is readable and holds masks of this instance and of no other; if not, the reason is logged."""
    try:
        archive = InstanceArchive(npz_path, mask_key)
        if archive.instance_ids != [expected_instance_id]:
            raise UserError(f"{npz_path}: holds {', '.join(archive.instance_ids)}; {expected_instance_id} alone is expected")
        camera_masks(next(iter(archive.masks.values())), f"{npz_path}: {expected_instance_id}")
    except UserError as error:
        log.warning("%s", error)
        return False
    return True


def instance_paths(archive: InstanceArchive, folder: Path, suffix: str = "") -> dict[str, Path]:
    """Where each instance goes, in a folder."""
    return {instance: folder / f"{archive.path.stem}_{instance}{suffix}.npz" for instance in archive.instance_ids}


def _write(archive: InstanceArchive, instance_id: str, output: Path, keep_all_data: bool = True) -> Path:
    alone = np.empty((), dtype=object)
    alone[()] = archive.of_instance(instance_id)
    added = {archive.mask_key: alone, "instance_id": np.array(instance_id), "original_file": np.array(str(archive.path))}
    archive.copy(output, added, None if keep_all_data else _SCENE)
    return output
