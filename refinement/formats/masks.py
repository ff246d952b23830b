"""Person masks of stage 2, read one at a time: `.png` or `.npy`, of one person or of all by their numbers, any grid."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np

from pose_priors.configs.base import UserError, counted, listed, reason_of
from pose_priors.refinement.formats.files import read_array
from pose_priors.refinement.formats.pictures import read_png

_NAMES = (
    re.compile(r"frame_(?P<frame>[0-9]{1,18})_person_(?P<person>[0-9]{1,18})"),
    re.compile(r"person_(?P<person>[0-9]{1,18})_frame_(?P<frame>[0-9]{1,18})"),
)
_OF_ALL = re.compile(r"(?:frame_|mask_)?(?P<frame>[0-9]{1,18})")
_SUFFIXES = (".png", ".npy")
_THREADS = 2  # that decode what will be asked for: the decoder needs no lock of Python's


def mask_frames(folder: Path) -> set[int]:
    """The frames that the masks in a folder are of, by their names."""
    alone, together = _files(folder)
    return {frame for _, frame in alone} | together.keys()


class Masks:
    """The masks below a stage 2 folder, by person and frame. Where a frame has none of a person alone, that of all people is used, in
    which each has their number.

    Args:
        stage2_dir: folder that holds `masks/`.
        warnings: takes a line if there are none; `close` adds those that could not be read, and ends what `decode` began.
        shift: by how much its frames are numbered higher than the cameras'.
    """

    def __init__(self, stage2_dir: Path, warnings: list[str], shift: int = 0) -> None:
        self._folder = stage2_dir / "masks"
        alone, together = _files(self._folder)
        self._files = {(person, frame - shift): path for (person, frame), path in alone.items()}
        self._together = {frame - shift: path for frame, path in together.items()}
        self._unread: dict[str, None] = {}  # in order, each once however often it is asked for
        self._known: dict[tuple[int, int], _Packed | str] = {}
        self._begun: dict[tuple[int, int], Future[_Packed | str]] = {}
        self._beside: ThreadPoolExecutor | None = None
        self._process = os.getpid()
        self._warnings = warnings
        if not self._files and not self._together:
            warnings.append(
                f"{self._folder}: no masks named frame_<t>_person_<id>, person_<id>_frame_<t> or frame_<t>; boxes take their place"
            )

    def decode(self, people: Iterable[int], frames: Iterable[int]) -> None:
        """Has the masks of people decoded beside, frame after frame, for whoever asks for them later; with `close` this ends."""
        for frame, person in product(frames, people):
            key, file = (person, frame), self._file(person, frame)
            if file is not None and key not in self._known and key not in self._begun:
                self._beside = self._beside or ThreadPoolExecutor(_THREADS)
                self._begun[key] = self._beside.submit(_decoded, *file)

    def read(self, person: int, frame: int) -> np.ndarray | None:
        """(h, w) bool, true on the person; None where there is no readable mask. Each is decoded once: several parts of loading ask."""
        key, file = (person, frame), self._file(person, frame)
        if file is None:
            return None
        if self._process != os.getpid():  # a fork, where the threads are not, and nothing that they had begun is ever done
            self._beside, self._begun, self._process = None, {}, os.getpid()
        found = self._known.get(key)
        if found is None:
            begun = self._begun.pop(key, None)
            # what nobody has begun yet waits in the queue for no other
            found = _decoded(*file) if begun is None or begun.cancel() else begun.result()
            self._known[key] = found
        if isinstance(found, str):
            self._unread[found] = None
            return None
        return found.mask()

    def _file(self, person: int, frame: int) -> tuple[Path, int | None] | None:
        """The file that a mask is in, and the person's number there, None where it is of nobody else."""
        if (alone := self._files.get((person, frame))) is not None:
            return alone, None
        together = self._together.get(frame)
        return None if together is None else (together, person)

    def close(self) -> None:
        """Says which masks could not be read, and ends what is decoded beside; whoever reads on decodes what is asked for."""
        if self._unread:
            self._warnings.append(
                f"{counted(len(self._unread), 'mask')} could not be read, as PNG or .npy of (h, w): {listed([*self._unread], 2)}"
            )
            self._unread = {}
        beside, self._beside, self._begun = self._beside, None, {}
        if beside is not None and self._process == os.getpid():
            beside.shutdown(cancel_futures=True)


def _decoded(path: Path, number: int | None) -> _Packed | str:
    """The mask in a file, of whoever has a number in it, or of all that is something; or what is wrong with it."""
    try:
        mask = read_array(path) if path.suffix == ".npy" else read_png(path)
        mask = mask if mask.ndim == 2 else mask.squeeze()
    except UserError as error:  # names the file
        return str(error)
    except Exception as error:  # whatever a damaged picture makes the decoder raise, it costs this mask only
        return f"{path}: {reason_of(error)}"
    if mask.ndim != 2 or not mask.size:
        return f"{path}: shape {mask.shape}"
    if number is not None:
        return _Packed.of(mask == number)
    # smoothed rims are half on the person; numbers of people are small and on them wholly
    return _Packed.of(mask > (127 if mask.dtype == np.uint8 and mask.max(initial=0) > 127 else 0))


@dataclass(frozen=True)
class _Packed:
    """A mask at an eighth of a byte for each pixel of the box that it fills: some kilobytes.

    Attributes:
        shape: (h, w).
        box: the rows and columns that hold all that is true.
        bits: of the box, row after row.
    """

    shape: tuple[int, int]
    box: tuple[slice, slice]
    bits: np.ndarray

    @classmethod
    def of(cls, mask: np.ndarray) -> _Packed:
        """Of an (h, w) bool mask."""
        rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
        box = tuple(slice(line[0], line[-1] + 1) if len(line) else slice(0) for line in (rows, columns))
        return cls((mask.shape[0], mask.shape[1]), (box[0], box[1]), np.packbits(mask[box]))

    def mask(self) -> np.ndarray:
        """(h, w) bool, anew at each call."""
        whole = np.zeros(self.shape, bool)
        inside = whole[self.box]
        inside[:] = np.unpackbits(self.bits, count=inside.size).reshape(inside.shape)
        return whole


def _files(folder: Path) -> tuple[Mapping[tuple[int, int], Path], Mapping[int, Path]]:
    """Masks of one person by person and frame, and of all people by frame."""
    alone, together = dict[tuple[int, int], Path](), dict[int, Path]()
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if path.suffix not in _SUFFIXES:
            continue
        if match := next((m for name in _NAMES if (m := name.fullmatch(path.stem))), None):
            alone[int(match["person"]), int(match["frame"])] = path
        elif match := _OF_ALL.fullmatch(path.stem):
            together[int(match["frame"])] = path
    return alone, together
