"""JSON of strangers: of bounded size and depth, with numbers that fit 64 bits and text that can be written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pose_priors.configs.base import UserError, reason_of
from pose_priors.datamodules.containers.regular import read_regular

_MOST_BYTES = 256 << 20
_MOST_DEPTH = 64
_MOST_DIGITS = 19


def load_json(path: Path) -> Any:
    """What a JSON file holds; NaN and Infinity are read as such.

    Raises:
        UserError: if it cannot be opened, is no JSON, is nested more than 64 deep or larger than 256 MiB, or holds whole numbers beyond 64
            bits or text that is none.
    """
    data = read_regular(path, _MOST_BYTES)
    try:
        content = json.loads(data, parse_int=_whole)
        _check(content)
    except RecursionError:
        raise UserError(f"{path}: not readable JSON (nested more than {_MOST_DEPTH} deep)") from None
    except ValueError as error:
        raise UserError(f"{path}: not readable JSON ({reason_of(error)})") from error
    return content


def _whole(digits: str) -> int:
    if len(digits.lstrip("-")) > _MOST_DIGITS or abs(int(digits)) >= 1 << 63:
        raise ValueError(f"{digits[:24]}..., a whole number beyond 64 bits")
    return int(digits)


def _check(content: Any) -> None:
    """Raises `ValueError` if something is too deep, or text is half of a character."""
    level = [content]
    for _ in range(_MOST_DEPTH + 1):
        texts = [part for part in level if isinstance(part, str)]
        level = [inner for part in level if isinstance(part, dict | list) for inner in _inside(part)]
        try:
            "".join(texts).encode()
        except UnicodeEncodeError as error:
            raise ValueError("text that holds halves of characters") from error
        if not level:
            return
    raise ValueError(f"nested more than {_MOST_DEPTH} deep")


def _inside(part: dict[str, Any] | list[Any]) -> list[Any]:
    return [*part, *part.values()] if isinstance(part, dict) else part
