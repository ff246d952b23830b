"""What lets rerun write to a disk that is full: given a file there, it waits in `disconnect` for ever, without a word."""

from __future__ import annotations

import os
import threading
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
        self._error: OSError | None = None
        self._end, entrance = os.pipe()
        self._file = path.open("wb")
        self._thread = threading.Thread(target=self._write, daemon=True)
        self._thread.start()
        try:
            stream.save(f"/dev/fd/{entrance}", **options)
        finally:
            os.close(entrance)  # rerun has one of its own, with which the pipe ends

    def finish(self) -> None:
        """Ends the stream and its file. Raises the `OSError` that writing has met."""
        self._stream.disconnect()  # writes the footer, without which a file is damaged
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
