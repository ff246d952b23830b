"""The strict, frozen model that every configuration object derives from, and the one error that a user is meant to see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

BUILT_IN = "built_in"
"""The name of the source of poses, and of that of motions, which are synthetic and need no files."""
LoggerKind = Literal["tensorboard", "wandb", "csv"]
"""Where a run can be watched."""
_MOST_OF_A_REASON = 300
_MOST_CHARACTERS = 4000  # of a message: a list of all that is allowed fits, a file that was quoted by mistake does not


def one_line(text: str) -> str:
    """Text as one line that a terminal shows and does not obey: what is not printable (line ends, ANSI codes) is escaped, and of more than
    `_MOST_CHARACTERS` the middle is left out."""
    if not text.isprintable():
        text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    half = _MOST_CHARACTERS // 2
    return text if len(text) <= _MOST_CHARACTERS else f"{text[:half]} ... {text[-half:]}"


def reason_of(error: object) -> str:
    """What an error says, on one line of moderate length, without control characters; the name of its kind where it says nothing, and
    that a key is not there where it says that key alone."""
    key = error.args[0] if isinstance(error, KeyError) and error.args else None
    said = error if key is None else key if isinstance(key, str) and " " in key else f"no {key!r} in it"
    text = " ".join("".join(c if c.isprintable() else " " for c in str(said)).split())
    if not text and isinstance(error, BaseException):
        return type(error).__name__
    return text if len(text) <= _MOST_OF_A_REASON else f"{text[: _MOST_OF_A_REASON - 3]}..."


def listed(items: Sequence[object], most: int = 5) -> str:
    """Items for a one-line message, the first few of many."""
    shown = ", ".join(str(item) for item in items[:most])
    return shown if len(items) <= most else f"{shown}, ... ({len(items)} in all)"


def counted(number: int, one: str, more: str | None = None) -> str:
    """So many things, for a message: `1 mask`, `2 masks`, `1,000 masks`; `more` is the word where an s at its end does not make it."""
    return f"{number:,} {one if number == 1 else more or f'{one}s'}"


def flattened(tree: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """The leaves of a nested mapping by their dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= flattened(value, f"{above}{key}.") if isinstance(value, Mapping) else {f"{above}{key}": value}
    return flat


class UserError(Exception):
    """A mistake that the user can mend: a bad config, file, format or checkpoint.

    Its message is one line, whatever is in the names that it quotes, that says what was found, where, what is allowed and what to do. The
    scripts print it and exit with code 2.
    """

    def __init__(self, message: str = "") -> None:
        super().__init__(one_line(message))


class Config(BaseModel):
    """A piece of configuration: unknown keys are refused, types are not coerced, and nothing changes after validation."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)
