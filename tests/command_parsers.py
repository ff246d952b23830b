"""The parser that a command makes, without the command."""

from __future__ import annotations

import importlib
from functools import cache

import pytest

from pose_priors.configs.cli import Parser


@cache
def parser_of(module: str) -> Parser:
    """The parser of a module's `main`: nothing runs once it would parse."""
    found: list[Parser] = []

    def stop(self: Parser, *_: object, **__: object) -> None:
        found.append(self)
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Parser, "parse_args", stop)
        with pytest.raises(KeyboardInterrupt):
            importlib.import_module(module).main([])
    return found[0]
