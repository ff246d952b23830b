"""The one door for what lives in another package: a prior, a loss term or a file format, by an entry point or by `module:Class`."""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import inspect
import logging
import re
import sys
from collections.abc import Callable, Collection
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from types import ModuleType
from typing import Generic, TypeGuard, TypeVar

from pose_priors.configs.base import Config, UserError, reason_of

_NAME = r"[^\W\d]\w*(?:\.[^\W\d]\w*)*"
# As in an entry point; a module that is the thing itself needs a dot, to be told from a name.
_REFERENCE = re.compile(rf"{_NAME}:{_NAME}|(?=[^.]+\.){_NAME}")

log = logging.getLogger(__name__)

Thing = TypeVar("Thing")
AnyConfig = TypeVar("AnyConfig", bound=Config)


class PluginError(UserError):
    """A name stands for nothing that can be had, or for something else than is wanted."""


@dataclass(frozen=True)
class Door(Generic[Thing]):
    """One sort of thing that other packages may bring.

    Attributes:
        group: of the entry points, such as `pose_priors.priors`.
        noun: what they bring, in a word.
        wanted: the same in a few words, for whoever writes one.
        fits: whether an object is one.
    """

    group: str
    noun: str
    wanted: str
    fits: Callable[[object], TypeGuard[Thing]]

    def names(self) -> list[str]:
        """The names that installed packages give theirs, sorted. Nothing of them is imported."""
        return sorted({point.name for point in self._installed()})

    def knows(self, name: str) -> bool:
        """Whether a name is one of `names`, or a reference: `module:Class`."""
        return name in self.names() or _REFERENCE.fullmatch(name) is not None

    def find(self, name: str, ours: Collection[str] = (), allow: Collection[str] | None = None) -> Thing:
        """What a name stands for in another package; its module is imported, from where Python finds modules and nowhere else.

        Args:
            name: an entry point's, or a reference.
            ours: names that nobody else may use.
            allow: None where the user has written the name. Where a file of anybody's says it: packages that may be imported for it, beside
                those of entry points and those that are imported already.
        Raises:
            PluginError: one line, if there is no such thing, it may not or cannot be imported, or is not what is wanted.
        """
        points = [point for point in self._installed() if point.name == name]
        if points and name in ours:
            raise PluginError(
                f"{name} is a {self.noun} of this project, and {_packages(points)} brings another of that name (an entry point of "
                f"{self.group}): uninstall that package, or rename what it brings"
            )
        if len({point.value for point in points}) > 1:
            values = " or ".join(sorted(point.value for point in points))
            raise PluginError(f"{name} is brought by {_packages(points)}: say which by {values}")
        reference = points[0].value if points else name
        if not points and _REFERENCE.fullmatch(name) is None:
            allowed = ", ".join([*ours, *self.names(), "or module:Class of an installed package"])
            raise PluginError(f"{name!r} names no {self.noun}; allowed: {allowed}")
        if allow is not None and not self._trusted(reference, allow):
            package = reference.split(":")[0].split(".")[0]
            raise PluginError(
                f"{name} is a {self.noun} of another package, which is not imported because a file names it; if you trust {package}, allow "
                f"it: load_prior(path, allow={package!r}), evaluate.py --allow {package}, refine.py --override prior.allow=[{package}]"
            )
        found = self._loaded(reference)
        if not self.fits(found):
            raise PluginError(f"{reference}: {_described(found)}, where {self.wanted} is wanted")
        return found

    def all(self) -> dict[str, Thing]:
        """What installed packages bring, by name. One that cannot be had is told in a log line, once, and left out."""
        return _all(self, tuple(sys.path))

    def _installed(self) -> tuple[EntryPoint, ...]:
        return _entry_points(self.group, tuple(sys.path))

    def _trusted(self, reference: str, allow: Collection[str]) -> bool:
        module = reference.split(":")[0]
        if module in sys.modules or any(point.value == reference for point in self._installed()):
            return True
        return any(module == package or module.startswith(f"{package}.") for package in allow)

    def _loaded(self, reference: str) -> object:
        name, _, attribute = reference.partition(":")
        module = _module(name)
        try:
            return functools.reduce(getattr, attribute.split("."), module) if attribute else module
        except AttributeError as error:
            there = [key for key, value in vars(module).items() if self.fits(value)]
            raise PluginError(f"{reference}: no {attribute} in {name}; of this sort it has {', '.join(there) or 'nothing'}") from error


def is_config(found: object, base: type[AnyConfig]) -> TypeGuard[type[AnyConfig]]:
    """Whether an object is a class of configs of that base that can be built, as strict and frozen as all."""
    if not (isinstance(found, type) and issubclass(found, base) and not inspect.isabstract(found)):
        return False
    return all(found.model_config.get(key) == Config.model_config.get(key) for key in ("extra", "frozen", "strict"))


@functools.cache
def _entry_points(group: str, path: tuple[str, ...]) -> tuple[EntryPoint, ...]:
    """Those that are installed on `sys.path`, which is looked through once."""
    return tuple(importlib.metadata.entry_points(group=group))


@functools.cache
def _all(door: Door[Thing], path: tuple[str, ...]) -> dict[str, Thing]:
    found = {}
    for name in door.names():
        try:
            found[name] = door.find(name)
        except PluginError as error:
            log.warning("%s of another package is left out: %s", door.noun, error)
    return found


def _module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:  # whatever it does when it is imported
        missing = isinstance(error, ModuleNotFoundError) and error.name is not None and f"{name}.".startswith(f"{error.name}.")
        if missing:
            raise PluginError(f"{name}: no such module; install the package that has it (pip install -e, if it is yours)") from error
        raise PluginError(f"{name}: cannot be imported ({type(error).__name__}: {reason_of(error)})") from error


def _packages(points: Collection[EntryPoint]) -> str:
    return " and ".join(sorted({point.dist.name if point.dist is not None else point.module for point in points}))


def _described(found: object) -> str:
    if isinstance(found, ModuleType):
        return "a module"
    return f"the class {found.__name__}" if isinstance(found, type) else f"an object of {type(found).__name__}"
