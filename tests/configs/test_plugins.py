"""The door for other packages: what comes in, and one line for what does not."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeGuard

import pytest

from pose_priors.configs.base import Config, UserError
from pose_priors.configs.plugins import Door, PluginError, is_config

Install = Callable[..., Path]


class Shape(Config):
    """What the packages of these tests bring."""


def _is_shape(found: object) -> TypeGuard[type[Shape]]:
    return is_config(found, Shape)


SHAPES: Door[type[Shape]] = Door("tests.shapes", "shape", "a strict and frozen subclass of Shape", _is_shape)
MODULE = """
from abc import abstractmethod
from pydantic import ConfigDict
from test_plugins import Shape

class Square(Shape):
    side: float = 1.0

class Loose(Shape):
    model_config = ConfigDict(extra="allow")

class Molten(Shape):
    model_config = ConfigDict(frozen=False)

class Vague(Shape):
    model_config = ConfigDict(strict=False)

class Idea(Shape):
    @abstractmethod
    def area(self) -> float: ...

class Other: ...

number = 3
"""
FILES = {"their_shapes/__init__.py": "", "their_shapes/flat.py": MODULE}


def _refused(name: str, ours: tuple[str, ...] = ("circle",), allow: tuple[str, ...] | None = None) -> str:
    with pytest.raises(PluginError) as caught:
        SHAPES.find(name, ours, allow)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 500
    return message


def test_a_name_and_a_reference_are_the_same(install: Install) -> None:
    install("their-shapes", FILES, {"tests.shapes": {"square": "their_shapes.flat:Square"}})
    assert SHAPES.names() == ["square"]
    assert "their_shapes.flat" not in sys.modules  # to list is not to import
    found = SHAPES.find("square")
    assert found is SHAPES.find("their_shapes.flat:Square")
    assert found(side=2.0).side == 2.0
    assert SHAPES.all() == {"square": found}


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("square", True),
        ("a.b:C", True),
        ("a:b.C", True),
        ("a.b", True),
        ("circle", False),
        ("a/b:C", False),
        ("a:", False),
        ("../a:C", False),
    ],
)
def test_what_is_a_name_of_something(install: Install, name: str, known: bool) -> None:
    install("their-shapes", FILES, {"tests.shapes": {"square": "their_shapes.flat:Square"}})
    assert SHAPES.knows(name) is known


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("sqare", "'sqare' names no shape; allowed: circle, square, or module:Class"),
        ("/tmp/x.py:Square", "names no shape"),
        ("../x:Square", "names no shape"),
        ("no_such_package.flat:Square", "no such module; install the package"),
        ("their_shapes.round:Square", "no such module; install the package"),
        ("their_shapes.flat:Sqare", "no Sqare in their_shapes.flat; of this sort it has Shape, Square"),
        ("their_shapes.flat:Other", "the class Other, where a strict and frozen subclass of Shape is wanted"),
        ("their_shapes.flat:Loose", "the class Loose, where a strict and frozen"),
        ("their_shapes.flat:Molten", "the class Molten, where a strict and frozen"),
        ("their_shapes.flat:Vague", "the class Vague, where a strict and frozen"),
        ("their_shapes.flat:Idea", "the class Idea, where a strict and frozen"),
        ("their_shapes.flat:number", "an object of int, where"),
        ("their_shapes.flat", "a module, where"),
    ],
)
def test_what_cannot_be_had_is_one_line(install: Install, name: str, told: str) -> None:
    install("their-shapes", FILES, {"tests.shapes": {"square": "their_shapes.flat:Square"}})
    assert told in _refused(name)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("import no_such_dependency", "cannot be imported (ModuleNotFoundError: No module named 'no_such_dependency')"),
        ("raise RuntimeError('no GPU\\nat all')", "cannot be imported (RuntimeError: no GPU at all)"),
        ("raise SystemExit(3)", "cannot be imported (SystemExit: 3)"),
        ("def f(:", "cannot be imported (SyntaxError"),
    ],
)
def test_a_module_that_cannot_be_imported_says_why(
    install: Install, text: str, told: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    install("their-shapes", {"broken_shapes.py": text}, {"tests.shapes": {"broken": "broken_shapes:Square"}})
    assert told in _refused("broken")
    assert "broken_shapes" in _refused("broken_shapes:Square")
    # where all are looked through, the others are to be had
    with caplog.at_level(logging.WARNING):
        assert SHAPES.all() == SHAPES.all() == {}
    assert [record.getMessage().count(told) for record in caplog.records] == [1]


def test_one_of_ours_cannot_be_replaced(install: Install) -> None:
    install("their-shapes", FILES, {"tests.shapes": {"circle": "their_shapes.flat:Square"}})
    message = _refused("circle")
    assert "of this project" in message
    assert "their-shapes" in message


def test_two_packages_with_one_name_have_to_be_told_apart(install: Install) -> None:
    install("their-shapes", FILES, {"tests.shapes": {"square": "their_shapes.flat:Square"}})
    install("more-shapes", {"more_shapes.py": MODULE}, {"tests.shapes": {"square": "more_shapes:Square"}})
    message = _refused("square")
    for part in ("their-shapes", "more-shapes", "their_shapes.flat:Square", "more_shapes:Square"):
        assert part in message
    assert SHAPES.find("more_shapes:Square").__module__ == "more_shapes"


def test_what_a_file_names_is_imported_only_if_somebody_has_said_so(install: Install) -> None:
    install("their-shapes", FILES)
    message = _refused("their_shapes.flat:Square", allow=())
    assert "allow='their_shapes'" in message
    assert "their_shapes" in _refused("their_shapes.flat:Square", allow=("their", "their_shapes.round", "other"))
    assert "their_shapes" not in sys.modules
    for allowed in ("their_shapes", "their_shapes.flat"):
        assert SHAPES.find("their_shapes.flat:Square", allow=(allowed,)).__name__ == "Square"
    assert SHAPES.find("their_shapes.flat:Square", allow=()).__name__ == "Square"  # imported already


def test_an_entry_point_has_said_so(install: Install) -> None:
    install("their-shapes", FILES, {"tests.shapes": {"square": "their_shapes.flat:Square"}})
    assert "allow" in _refused("their_shapes.flat:Other", allow=())
    assert SHAPES.find("their_shapes.flat:Square", allow=()).__name__ == "Square"
    assert SHAPES.find("square", allow=()).__name__ == "Square"


def test_it_is_a_mistake_that_the_user_can_mend() -> None:
    assert issubclass(PluginError, UserError)
