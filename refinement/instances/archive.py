"""The npz of a scene with the masks of its instances: read without running what its pickles name, and copied as it was read."""

from __future__ import annotations

import zipfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pose_priors.configs.base import UserError, listed, reason_of
from pose_priors.configs.writing import written_aside
from pose_priors.datamodules.arrays import Entry, describe, open_arrays
from pose_priors.refinement.formats.files import existing_file

_PICKLED = ("object", "void")
_UNSAFE = set('/\\:*?"<>|\0\n\r\t')


class InstanceArchive:
    """A scene's npz, one key of which holds a pickled dict of masks by instance.

    Every pickle in the file is looked through when it is opened, also those that are only carried along: whoever reads the copies may not
    be as careful. So members that are no arrays stay behind.

    Args:
        path: of the npz.
        mask_key: the key of the masks.
    Raises:
        UserError: if the file cannot be read, a pickle in it names anything but arrays, tensors and plain containers, or the key is missing
            or holds no masks by instance.
    """

    def __init__(self, path: Path, mask_key: str) -> None:
        self.path, self.mask_key = existing_file(Path(path), f"the masks of instances as '{mask_key}'"), mask_key
        self._entries = open_arrays_of_npz(self.path)
        if mask_key not in self._entries:
            raise UserError(f"{path}: no '{mask_key}'; it holds {describe(self._entries)}: give one of these with --mask-key")
        content = self.value(mask_key)
        if not isinstance(content, Mapping) or not content:
            kind = "an empty dict" if isinstance(content, Mapping) else type(content).__name__
            raise UserError(f"{path}: '{mask_key}' is {kind}; a dict of masks by instance is expected")
        self._keys = {str(key): key for key in content}
        if len(self._keys) < len(content):
            raise UserError(f"{path}: '{mask_key}' holds two instances of the same name: {listed(list(content))}")
        for name in self._keys:
            if not name.strip() or name.startswith(".") or set(name) & _UNSAFE:
                raise UserError(f"{path}: '{mask_key}' holds an instance named {name!r}, which cannot be a part of a file name; rename it")
        self.masks: Mapping[Any, Any] = content
        """As they are in the file."""

    @property
    def instance_ids(self) -> list[str]:
        """Names of the instances, sorted, numbers in them by size."""
        return sorted(self._keys, key=_natural)

    def __contains__(self, name: str) -> bool:
        return name in self._entries

    def of_instance(self, instance_id: str) -> dict[Any, Any]:
        """The dict of masks with this instance alone. Raises `UserError` if there is none of that name."""
        if instance_id not in self._keys:
            raise UserError(f"{self.path}: no instance '{instance_id}'; there are {listed(self.instance_ids, 20)}")
        key = self._keys[instance_id]
        return {key: self.masks[key]}

    def value(self, name: str) -> Any:
        """What a key holds: an array, or the object in an object array without dimensions."""
        value = self._entries[name].load()
        return value.item() if value.dtype == object and value.shape == () else value

    def first(self, *names: str) -> Any:
        """What the first of these keys holds that is there; None if none is."""
        return next((self.value(name) for name in names if name in self._entries), None)

    def copy(self, target: Path, changes: Mapping[str, np.ndarray], only: Collection[str] | None = None) -> None:
        """Writes an npz with some arrays exchanged or added, and all others as they were read.

        Args:
            target: appears whole or not at all.
            changes: arrays by key; those of objects are pickled.
            only: keys to carry along; None for all.
        Raises:
            UserError: if it cannot be written, or the file is damaged.
        """
        arrays = {name: entry.load for name, entry in self._entries.items() if name not in changes and (only is None or name in only)}
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with written_aside(target) as aside, zipfile.ZipFile(aside, "w") as made:
                for name, array in changes.items():
                    _write(made, name, array, packed=True)
                for name, load in arrays.items():
                    _write(made, name, load(), self._entries[name].is_packed)
        except (OSError, ValueError) as error:
            raise UserError(f"{target}: cannot be made from {self.path} ({reason_of(error)})") from error


def _write(archive: zipfile.ZipFile, name: str, array: np.ndarray, packed: bool) -> None:
    """An array as a member; objects are pickled anew, so nothing but what was read is in the pickle."""
    about = zipfile.ZipInfo(f"{name}.npy")
    about.compress_type = zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED
    with archive.open(about, "w", force_zip64=True) as stream:
        np.lib.format.write_array(stream, array, allow_pickle=array.dtype == object)


def open_arrays_of_npz(path: Path) -> dict[str, Entry]:
    """The arrays of an npz by key, after its pickles were looked through. Raises `UserError` if one names what is not allowed."""
    if path.suffix != ".npz":
        raise UserError(f"{path}: an npz is expected, with the suffix .npz")
    entries = open_arrays(path)
    for entry in entries.values():
        if entry.kind.startswith(_PICKLED):
            entry.load()
    return entries


def camera_masks(value: Any, source: str) -> list[np.ndarray]:
    """The masks of one instance, for each camera (T, H, W) bool.

    Args:
        value: (T, H, W) of one camera or (V, T, H, W) of several, in one array or in lists of arrays; above 0 is on the instance.
        source: what to call it in errors.
    Raises:
        UserError: if it has another shape, or cameras differ in their number of frames.
    """
    views = _views(value, source)
    if len({len(view) for view in views}) != 1:
        raise UserError(f"{source}: the cameras have {', '.join(str(len(view)) for view in views)} frames; one number is expected")
    return views


def _views(value: Any, source: str) -> list[np.ndarray]:
    if isinstance(value, np.ndarray) and value.dtype != object:
        if value.ndim in (3, 4) and value.dtype.kind in "biuf":
            return [view > 0 for view in (value if value.ndim == 4 else value[None])]
        raise UserError(f"{source}: {value.dtype} of shape {value.shape}; (frames, H, W) or (cameras, frames, H, W) is expected")
    if hasattr(value, "detach"):
        return _views(value.detach().numpy(), source)
    parts = list(value) if isinstance(value, list | tuple) or (isinstance(value, np.ndarray) and value.ndim) else []
    if not parts:
        raise UserError(f"{source}: {type(value).__name__}; arrays of masks are expected")
    if all(getattr(part, "ndim", None) == 2 for part in parts):
        if len({part.shape for part in parts}) != 1:
            raise UserError(f"{source}: the masks of one camera have different sizes; one is expected")
        return _views(np.stack([np.asarray(part) for part in parts]), source)
    found = [_views(part, source) for part in parts]
    if any(len(views) != 1 for views in found):
        raise UserError(
            f"{source}: lists of arrays of {getattr(parts[0], 'ndim', '?')} dimensions; (frames, H, W) of each camera is expected"
        )
    return [views[0] for views in found]


def _natural(name: str) -> tuple[list[tuple[int, str]], str]:
    """instance_2 before instance_10."""
    parts: list[str] = []
    for character in name:
        if parts and parts[-1].isdecimal() == character.isdecimal():
            parts[-1] += character
        else:
            parts.append(character)
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts], name
