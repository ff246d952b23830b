"""Zip files whose members are read by one parser, once, and never grow beyond what was declared and allowed."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import BinaryIO

from pose_priors.configs.base import UserError, reason_of
from pose_priors.datamodules.containers.regular import MOST_BYTES, open_regular, size_of

STARTS = (b"PK\x03\x04", b"PK\x05\x06")
"""A zip's first bytes. Whoever looks for the end alone takes a file of another kind with a zip behind it for a zip."""
_LEAST_ROOM, _MOST_RATIO = 256 << 20, 500
_ENCRYPTED = 1


class Zip:
    """The members of a zip file.

    Args:
        source: a path, which stays open as long as this, or a stream.
        origin: what to call it in errors; the path if nothing is said.
    Raises:
        UserError: if it is no zip from its first byte on, is damaged or encrypted, two members bear one name, or one would grow to more
            than 256 MiB and 500 times its packed size.
    """

    def __init__(self, source: Path | BinaryIO | io.BytesIO, origin: str = "") -> None:
        self.origin = origin or str(source)
        self._stream = open_regular(source) if isinstance(source, Path) else source
        try:
            start = self._stream.read(4)
            self._stream.seek(0)
            if start not in STARTS:
                raise ValueError("it does not begin as a zip file does")
            self._zip = zipfile.ZipFile(self._stream)
            self._members = self._checked(size_of(self._stream))
        except Exception as error:  # zipfile raises what struct, codecs and seeking raise
            self._stream.close()
            raise UserError(f"{self.origin}: not a readable zip file, or not a whole one ({reason_of(error)})") from error

    def __del__(self) -> None:
        if hasattr(self, "_stream"):
            self._stream.close()

    def __contains__(self, name: str) -> bool:
        return name in self._members

    @property
    def names(self) -> list[str]:
        """Of all members, as they come."""
        return list(self._members)

    def size(self, name: str) -> int:
        """The bytes of a member, as declared; it never gives more."""
        return self._members[name].file_size

    def is_packed(self, name: str) -> bool:
        """Whether a member is compressed."""
        return self._members[name].compress_type != zipfile.ZIP_STORED

    def read(self, name: str, most: int | None = None) -> bytes:
        """A member's bytes, all or the first `most`. Raises `UserError` if it is damaged."""
        size = self.size(name)
        wanted = size if most is None else min(size, most)
        try:
            with self._zip.open(self._members[name]) as stream:
                data = stream.read(wanted)
                if len(data) != wanted or (wanted == size and stream.read(1)):
                    raise EOFError("its size is a lie")
        except Exception as error:
            raise UserError(
                f"{self.origin}: '{name.removesuffix('.npy')}' cannot be read ({reason_of(error)}); is the file complete?"
            ) from error
        return data

    def _checked(self, size: int) -> dict[str, zipfile.ZipInfo]:
        members: dict[str, zipfile.ZipInfo] = {}
        packed = 0
        for about in self._zip.infolist():
            packed += about.compress_size
            if about.filename in members:
                raise ValueError(f"two members named {about.filename!r}")
            if about.flag_bits & _ENCRYPTED:
                raise ValueError(f"{about.filename!r} is encrypted")
            if about.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise ValueError(f"{about.filename!r} is compressed by method {about.compress_type}; stored and deflated are read")
            if packed > size:
                raise ValueError("its members are larger than the file")
            stored = about.compress_type == zipfile.ZIP_STORED
            room = about.compress_size if stored else max(_LEAST_ROOM, _MOST_RATIO * about.compress_size)
            if about.file_size > min(room, MOST_BYTES):
                raise ValueError(
                    f"{about.filename!r} would grow from {about.compress_size:,} to {about.file_size:,} bytes; save it uncompressed"
                )
            members[about.filename] = about
        return members
