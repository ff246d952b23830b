"""What an offline run of Weights & Biases has kept."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wandb.proto.wandb_internal_pb2 import Record


def contents(path: Path) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """The name of a run, its configuration, and the last value of everything that it has logged; once it is all there, which a process of
    its own sees to."""
    until = time.monotonic() + 20
    while not any(record.HasField("exit") for record in records(path)) and time.monotonic() < until:
        time.sleep(0.1)
    name, config, values = "", {}, {}
    for record in records(path):
        if record.HasField("run"):
            name = record.run.display_name
        for item in (*record.config.update, *record.run.config.update):
            config[item.key or ".".join(item.nested_key)] = json.loads(item.value_json)
        for item in record.history.item:
            values[item.key or "/".join(item.nested_key)] = json.loads(item.value_json)
    return name, config, values


def records(path: Path) -> Iterator[Record]:
    """What an offline run of Weights & Biases has kept: a log of LevelDB's."""
    data, at, part = path.read_bytes(), 7, b""
    while at + 7 <= len(data):
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
            continue
        size, kind = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
        at += 7 + size
        if at > len(data):  # it is being written
            return
        part += data[at - size : at]
        if kind in (1, 4):  # whole, or the last piece
            yield Record.FromString(part)
            part = b""
