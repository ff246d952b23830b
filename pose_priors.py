"""Pose priors for SMPL-X, and the multi-person refinement that uses them.

The package `pose_priors`: its rooms are the folders beside this file in a checkout, and below `pose_priors/` where it is installed.
`from pose_priors import load_prior` is the door for programs of others; nothing heavy is imported before a name is asked for.
"""

from __future__ import annotations

import os
import sys

_HERE = os.path.dirname(os.path.abspath(__file__))
if not os.path.isdir(os.path.join(_HERE, "configs")):
    # the copy of this file that an editable install makes: the rooms are in the checkout, which that install puts on the path
    _HERE = next((folder for folder in sys.path if os.path.isfile(os.path.join(folder, "configs", "command.py"))), _HERE)
# With this a module is a package: in a checkout, this file and the rooms beside it are what `pose_priors/__init__.py` and the folders
# beside that are in a wheel, whatever else is installed. It comes first, for threads that import at the same time.
__path__ = [_HERE]

import importlib
import importlib.util
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import CodeType, ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pose_priors.body.pose_vectors import as_poses, from_poses
    from pose_priors.configs.base import UserError
    from pose_priors.priors.checkpoint import load_prior

__version__ = "0.1.0"
__all__ = ["UserError", "__version__", "as_poses", "from_poses", "load_prior"]

_DOORS = {
    "load_prior": "pose_priors.priors.checkpoint",
    "as_poses": "pose_priors.body.pose_vectors",
    "from_poses": "pose_priors.body.pose_vectors",
    "UserError": "pose_priors.configs.base",
}


def __getattr__(name: str) -> Any:
    if name not in _DOORS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(_DOORS)}")
    return getattr(importlib.import_module(_DOORS[name]), name)


def _is_package(spec: ModuleSpec) -> bool:
    return spec.submodule_search_locations is not None


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _SameModule:
    """Loads a module of a checkout under its name without `pose_priors.`: the very same module, so that there is one class of each."""

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = importlib.import_module(f"pose_priors.{spec.name}")
        self.spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self.spec  # the import machinery has put the other name there

    def get_code(self, name: str) -> CodeType | None:
        """What `python -m name` runs."""
        spec = importlib.util.find_spec(f"pose_priors.{name}")
        return None if spec is None else spec.loader.get_code(spec.name)  # type: ignore[union-attr]


class _WithoutPrefix(MetaPathFinder):
    """In a checkout, `import priors.joint_flow` goes on working: it is `pose_priors.priors.joint_flow`.

    Another project's `priors` or `configs` is left alone: only what lies below a room of this checkout is found here.
    """

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        room, _, inner = name.partition(".")
        if not inner or os.path.dirname(getattr(sys.modules.get(room), "__file__", None) or "") != os.path.join(_HERE, room):
            return None
        found = importlib.util.find_spec(f"pose_priors.{name}")
        loader: Any = _SameModule()
        return None if found is None else ModuleSpec(name, loader, origin=found.origin, is_package=_is_package(found))


if __name__ == "__main__":  # `python -m pose_priors` in a checkout; in a wheel that is `pose_priors/__main__.py`
    importlib.import_module("pose_priors.configs.command").main()
elif os.path.basename(__file__) != "__init__.py" and not any(isinstance(finder, _WithoutPrefix) for finder in sys.meta_path):
    sys.meta_path.insert(0, _WithoutPrefix())
