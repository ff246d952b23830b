"""What lets rerun write to a disk that is full: given a file there, it waits in `disconnect` for ever, or tells more than one line."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_CHUNK = 1 << 20


class Recorder:
    """Writes what a stream of rerun saves to a file, through a pipe that is read to its end whatever becomes of the file.

    Args:
        stream: a `RecordingStream` of rerun, not yet saved anywhere.
        path: of the file.
        options: those of `RecordingStream.save`.
    """

    def __init__(self, stream: Any, path: Path, **options: Any) -> None:
        self._stream = stream
        self._pipe = _Pipe(path)
        try:
            stream.save(self._pipe.name, **options)
        finally:
            self._pipe.close()  # rerun has an entrance of its own, with which the pipe ends

    def finish(self) -> None:
        """Ends the stream and its file. Raises the `OSError` that writing has met."""
        self._stream.disconnect()  # writes the footer, without which a file is damaged
        self._pipe.finish()


@contextmanager
def piped(path: Path) -> Iterator[str]:
    """A name to write to in the block; what is written there comes into the file. Raises the `OSError` that writing has met."""
    pipe = _Pipe(path)
    try:
        yield pipe.name
    finally:
        pipe.close()
    pipe.finish()


class _Pipe:
    """A pipe that is read to its end, into a file as long as that takes it. Open until `close`."""

    def __init__(self, path: Path) -> None:
        self._error: OSError | None = None
        self._end, self._entrance = os.pipe()
        self.name = f"/dev/fd/{self._entrance}"
        self._file = path.open("wb")
        self._thread = threading.Thread(target=self._write, daemon=True)
        self._thread.start()

    def close(self) -> None:
        os.close(self._entrance)

    def finish(self) -> None:
        self._thread.join()
        if self._error is not None:
            raise self._error

    def _write(self) -> None:
        while chunk := os.read(self._end, _CHUNK):
            if self._error is None:
                try:
                    self._file.write(chunk)
                except OSError as error:
                    self._error = error
        os.close(self._end)
        try:
            self._file.close()
        except OSError as error:
            self._error = self._error or error
