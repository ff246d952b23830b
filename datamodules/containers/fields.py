"""The named values of a tool's file, each asked for by shape: the one door through which arrays of nested files are taken."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from pose_priors.configs.base import UserError, listed

_MOST_KEYS = 12
_MOST = 1e12
_MOST_WHOLE = 1_000_000  # frames of nine hours; a clip has a row of arrays for each


class Fields:
    """The values of one dict in a tool's file.

    Attributes:
        content: the dict.
        source: file, and where in it, for messages.
        sizes: the sizes that letters stand for in `array`, as far as they are known.
    Raises:
        UserError: if it is no dict.
    """

    def __init__(self, content: Any, source: str) -> None:
        if not isinstance(content, Mapping):
            raise UserError(f"{source}: holds {described(content)}; named values are expected")
        self.content, self.source = content, source
        self.sizes: dict[str, int] = {}

    def __contains__(self, name: str) -> bool:
        return self.content.get(name) is not None

    def within(self, name: str) -> Fields:
        """The dict of that name. Raises `UserError` if there is none."""
        return Fields(self.raw(name), f"{self.source}: '{name}'")

    def raw(self, name: str) -> Any:
        """The value of that name as it is. Raises `UserError` with the names that are there if there is none."""
        if name not in self:
            raise UserError(f"{self.source}: no '{name}'; it holds {described(self.content)}")
        return self.content[name]

    def array(self, name: str, *shape: int | str | None) -> np.ndarray:
        """The numbers of that name as float64; those beyond 1e12, which no unit explains, say nothing and are NaN.

        Args:
            shape: what is expected; a letter stands for a size that must be the same wherever it is asked for, None for any size. No shape
                at all takes any.
        Raises:
            UserError: if there is no such value, it holds no numbers, it is empty, or it has another shape.
        """
        value = _numbers(self.raw(name), f"{self.source}: '{name}'")
        value = np.where(np.abs(value) < _MOST, value, np.nan)
        if not value.size:
            raise UserError(f"{self.source}: '{name}' is empty, of shape {value.shape}")
        if shape and not self._fits(value.shape, shape):
            expected = ", ".join("any" if size is None else str(size) for size in shape)
            known = ", ".join(f"{name} = {size}" for name, size in self.sizes.items() if name in shape)
            raise UserError(
                f"{self.source}: '{name}' has shape {value.shape}; ({expected}{',' * (len(shape) == 1)}) is expected"
                + (f" with {known}" if known else "")
            )
        return value

    def number(self, name: str) -> float:
        """The one number of that name, finite. Raises `UserError` as `array` does, or if there are more or none."""
        raw = self.raw(name)
        if getattr(raw, "dtype", type(raw)) in (bool, torch.bool):
            raise UserError(f"{self.source}: '{name}' is a truth value; one number is expected")
        value = self.array(name)
        if value.size != 1 or not np.isfinite(value).all():
            found = "is not finite" if value.size == 1 else f"has shape {value.shape}"
            raise UserError(f"{self.source}: '{name}' {found}; one number is expected")
        return float(value.reshape(()))

    def whole(self, name: str, *shape: int | str | None) -> np.ndarray:
        """Numbers of frames or pixels, int64. Raises `UserError` as `array` does, or if one is no whole number from 0 to a million."""
        value = self.array(name, *shape)
        if not ((value >= 0) & (value < _MOST_WHOLE) & (value == np.rint(value))).all():
            raise UserError(f"{self.source}: '{name}' holds others than whole numbers from 0 to {_MOST_WHOLE - 1:,}")
        return value.astype(np.int64)

    def _fits(self, found: tuple[int, ...], shape: tuple[int | str | None, ...]) -> bool:
        if len(found) != len(shape):
            return False
        sizes = dict(self.sizes)
        for size, wanted in zip(found, shape, strict=True):
            if wanted is not None and size != (sizes.setdefault(wanted, size) if isinstance(wanted, str) else wanted):
                return False
        self.sizes = sizes
        return True


def _numbers(value: Any, where: str) -> np.ndarray:
    """Any array, tensor or nested list as float64. Raises `UserError` if it holds something else than real numbers."""
    try:
        if isinstance(value, torch.Tensor):
            if value.is_complex():
                raise ValueError("no real numbers")
            return value.detach().cpu().double().numpy()
        array = np.asarray(value)
        if array.dtype.kind in "SUVcmM" or (array.dtype.kind == "O" and any(isinstance(part, str | bytes) for part in array.flat)):
            raise ValueError("text, or what is no real number")
        return array.astype(float)
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:
        raise UserError(f"{where} is {described(value)}; numbers are expected") from error


def described(content: Any) -> str:
    """What a value is, in a few words, for errors: the keys of a dict with the shapes of their values."""
    if isinstance(content, Mapping):
        return listed([f"{key} {_short(value)}" for key, value in content.items()], _MOST_KEYS) or "an empty dict"
    return _short(content)


def _short(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"{{{listed([str(key) for key in value], 6)}}}"
    if isinstance(value, np.ndarray) and value.dtype == object and value.shape == ():
        return _short(value.item())
    if isinstance(value, np.ndarray) and value.dtype.kind not in "biuf":
        return f"{value.shape} of {value.dtype.name}"
    if hasattr(value, "shape"):
        return f"{tuple(value.shape)}"
    return f"({type(value).__name__}{f' of {len(value)}' if isinstance(value, list | tuple) else ''})"
