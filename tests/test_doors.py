"""The rooms and their doors: who may import whom, and what every module owes its reader."""

from __future__ import annotations

import ast
import importlib
import inspect
from collections import Counter
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = "pose_priors"
ROOMS = ("body", "priors", "datamodules", "refinement", "configs", "figures", "benchmarks")

# Each room, and the rooms that it may import from. `configs` is two: its base is below everything, what composes is above.
_BASE = {"configs.base", "configs.plugins", "configs.temporaries", "configs.writing", "configs.exchange", "configs.cli", "configs.progress"}
_JOBS = {"configs.slurm", "configs.launch", "configs.interruption"}
_FIT = {"configs.validation", "configs.fitting", "configs.interruption"}
_GIVEN = _BASE | {"configs.threads", "body", "priors", "datamodules", "refinement.formats", "refinement.given"}
MAY_IMPORT = {
    "configs.base": set(),
    "configs.plugins": {"configs.base"},
    "configs.temporaries": set(),
    "configs.writing": {"configs.base", "configs.temporaries"},
    "configs.exchange": {"configs.base", "configs.temporaries", "configs.writing"},
    "configs.cli": {"configs.base"},
    "configs.progress": set(),
    "configs.slurm": {"configs.base"},
    "configs.launch": {"configs.base", "configs.cli", "configs.slurm"},
    "configs.threads": set(),
    "configs.interruption": set(),
    "configs.validation": {"configs.base"},
    "configs.fitting": {"configs.base", "configs.interruption", "configs.writing"},
    "configs.loggers": {"configs.base"},
    "body": _BASE,
    # a door of the room: files of strangers have one reader
    "body.smplx_files": _BASE | {"body", "datamodules.arrays", "datamodules.safe_pickle"},
    # a command is above its room: it reads a model to compare the built-in skeleton with it
    "body.__main__": _BASE | {"body"},
    "figures": {"body"},
    "priors": _BASE | {"configs.loggers", "configs.threads.cores", "body", "figures", "priors.weights"},
    # the same door: JSON and tensors of strangers
    "priors.weights": _BASE | {"priors", "datamodules.containers"},
    "datamodules": _BASE | {"configs.threads.cores", "body"},
    # the refinement tells the way of the data: from what tools wrote to what is shown of it
    "refinement.formats": _BASE | {"body", "datamodules"},
    "refinement.given": _GIVEN,
    "refinement.solve": _BASE | {"configs.threads.cores", "body", "priors", "refinement.given.problem"},
    "refinement.result": _GIVEN | {"figures", "refinement.solve"},
    # the modules of the room itself: its doors for programs
    "refinement": _GIVEN | {"refinement.solve", "refinement.result", "refinement.motions"} | _FIT | {"configs.loggers"},
    "refinement.show": _GIVEN | {"figures", "refinement.result"},
    "refinement.export": _GIVEN | {"refinement.result"},
    # files of motions alone: read, mended or scored, and written as they came
    "refinement.motions": _GIVEN | {"configs.slurm", "refinement.result"},
    "refinement.instances": _BASE | {"body", "datamodules", "refinement.formats", "refinement.show"},
    # a command is above its room, as a script is: it loads its configuration
    "refinement.instances.__main__": {"configs.base", "configs.cli", "configs", "refinement.instances"},
    "refinement.batch": _GIVEN
    | _JOBS
    | {"configs.loggers", "refinement", "refinement.solve", "refinement.result", "refinement.show", "refinement.export"},
    "configs": _BASE | _JOBS | _FIT | {"configs.loggers", "body", "priors", "datamodules", "refinement"},
    # what a list of runs is, a YAML says
    "benchmarks": _BASE | {"configs.load", "body", "priors", "datamodules", "refinement", "figures"},
}
# What comes from outside through one door.
DOORS = {
    "nflows": "priors.networks.flows",
    "matplotlib": "figures",
    "wandb": ("configs.loggers", "priors.training.logging"),
    "rerun": "refinement.show.record",
    "viser": "refinement.show.review",
    "imageio_ffmpeg": "refinement.show.video.encoder",
    "submitit": "configs.launch",
    "smplx": "benchmarks.full_body",  # the benchmark of kinematics is against it
    "h5py": "refinement.formats.tools.megahunter",
    "anny": "body.anny.model",
    "body_models": "body.rigs.model",
    "onnx": "priors.exporting.onnx_writer",
    "pxr": "refinement.export.usd",
    "safetensors": "datamodules.containers.safetensors",
    "huggingface_hub": "priors.weights.hub",
}
MAX_LINES, MAX_MODULES = 300, 20


def _name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {_name(path): path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))}
SCRIPTS = {path.stem: path for path in sorted(ROOT.glob("*.py")) if path.stem != PACKAGE}
EVERYTHING = MODULES | SCRIPTS
TESTS = sorted((ROOT / "tests").rglob("*.py"))

every_module = pytest.mark.parametrize("module", MODULES)
every_file = pytest.mark.parametrize("module", EVERYTHING)


def _room(module: str) -> str:
    """The innermost room or door that has rules of its own."""
    parts = module.split(".")
    return next((".".join(parts[:n]) for n in range(len(parts), 0, -1) if ".".join(parts[:n]) in MAY_IMPORT), parts[0])


def _allowed(room: str, reached: str) -> bool:
    """Whether a room's rules name what is reached, or a room around it."""
    around = [reached[: len(name)] for name in MAY_IMPORT[room] if reached == name or reached.startswith(f"{name}.")]
    return reached == room or bool(around)


def _imports(module: str, tree: ast.AST) -> Iterator[tuple[str, str]]:
    """(module, name) of everything that is imported anywhere in a file, inside functions too; the name is empty for a whole module. The
    project's own modules go by their names in the checkout."""
    is_package = EVERYTHING[module].stem == "__init__"
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield _own(alias.name), ""
        elif isinstance(node, ast.ImportFrom):
            origin = node.module or ""
            if node.level:
                parents = module.split(".") if is_package else module.split(".")[:-1]
                origin = ".".join([*parents[: len(parents) - node.level + 1], *filter(None, [node.module])])
            for alias in node.names:
                yield _own(origin), alias.name
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute | ast.Name):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id
            if called in ("import_module", "__import__") and node.args and isinstance(node.args[0], ast.Constant):
                yield _own(str(node.args[0].value)), ""


def _own(origin: str) -> str:
    return origin.removeprefix(f"{PACKAGE}.")


def _parsed(module: str) -> ast.Module:
    return ast.parse(EVERYTHING[module].read_text())


def _target(origin: str, name: str) -> str:
    """The project's module that an import reaches: `from pose_priors.priors import base` reaches `priors.base`."""
    return f"{origin}.{name}" if f"{origin}.{name}" in MODULES else origin


def test_the_tree_was_found() -> None:
    assert {"priors.networks.flows", "figures.drawing", "datamodules.base", "configs.load", "priors"} <= set(MODULES)
    assert {"train", "evaluate"} <= set(SCRIPTS)
    assert ("priors.networks.flows", "coupling") in set(_imports("priors.joint_flow", _parsed("priors.joint_flow")))


def test_rules_are_about_rooms_that_exist() -> None:
    named = set(MAY_IMPORT).union(*MAY_IMPORT.values())
    assert {name for name in named if name not in MODULES and not (ROOT / name.replace(".", "/")).is_dir()} == set()


@every_module
def test_rooms_are_entered_in_the_allowed_direction_only(module: str) -> None:
    room = _room(module)
    for origin, name in _imports(module, _parsed(module)):
        target = _target(origin, name)
        if target.split(".")[0] not in ROOMS:
            assert target.split(".")[0] not in SCRIPTS, f"{module} imports the script {target}"
            continue
        reached = _room(target)
        assert reached == room or _allowed(room, target) or _allowed(room, reached), f"{module} imports {target}"


def test_no_module_imports_itself_by_a_detour() -> None:
    graph = {}
    for module in MODULES:
        reached = {_target(origin, name) for origin, name in _imports(module, _parsed(module))}
        graph[module] = {other for other in reached if other in MODULES and other != module}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_no_room_is_crowded() -> None:
    sizes = Counter(path.parent.relative_to(ROOT) for path in [*MODULES.values(), *TESTS])
    assert {str(room): size for room, size in sizes.items() if size > MAX_MODULES} == {}


@every_module
def test_refinement_knows_priors_by_their_door_alone(module: str) -> None:
    if _room(module) == "refinement":
        for origin, name in _imports(module, _parsed(module)):
            if origin.split(".")[0] == "priors":
                known = ("Prior", "MotionPrior", "MotionFlow", "Criterion", "load_prior", "prior_files", "nll_per_joint")
                assert name in known, f"{module} imports {origin}.{name}"


@every_file
def test_libraries_with_a_door_enter_through_it(module: str) -> None:
    for origin, name in _imports(module, _parsed(module)):
        for library, door in DOORS.items():
            if library in (origin.split(".")[0], "wandb" if "wandb" in name.lower() else ""):
                doors = (door,) if isinstance(door, str) else door
                assert any(module == way or module.startswith(f"{way}.") for way in doors), f"{module} imports {library}, not by {door}"


@every_file
def test_pickles_are_read_by_restricted_readers_only(module: str) -> None:
    for node in ast.walk(_parsed(module)):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        called = ast.unparse(node.func)
        keywords = {k.arg: ast.unparse(k.value) for k in node.keywords}
        if called == "torch.load":
            assert keywords.get("weights_only") == "True", f"{module}:{node.lineno}"
        if called in ("np.load", "numpy.load"):
            assert keywords.get("allow_pickle", "False") == "False", f"{module}:{node.lineno}"
        assert called not in ("pickle.load", "pickle.loads", "joblib.load", "yaml.unsafe_load", "yaml.full_load"), f"{module}:{node.lineno}"


def test_tests_fit_a_few_screens_too() -> None:
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in TESTS}
    assert {name: length for name, length in lengths.items() if length > MAX_LINES} == {}


@every_file
def test_a_module_has_one_purpose_that_fits_a_few_screens(module: str) -> None:
    assert len(EVERYTHING[module].read_text().splitlines()) <= MAX_LINES
    assert not {"utils", "util", "helpers", "misc", "common"} & set(module.split("."))


@every_file
def test_what_is_public_says_what_it_is(module: str) -> None:
    tree = _parsed(module)
    silent = [] if ast.get_docstring(tree) else [module]
    for node in tree.body:
        public = isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")
        if public and not ast.get_docstring(node) and not (module in SCRIPTS and node.name in ("main", "fit")):
            silent.append(f"{module}.{node.name}")
    assert not silent


@every_module
def test_public_methods_have_a_docstring_of_their_own_or_their_base(module: str) -> None:
    loaded = importlib.import_module(f"{PACKAGE}.{module}")
    silent = []
    for class_name, cls in vars(loaded).items():
        if not inspect.isclass(cls) or cls.__module__ != f"{PACKAGE}.{module}" or class_name.startswith("_"):
            continue
        for name, member in vars(cls).items():
            if inspect.isfunction(member) and not name.startswith("_") and not inspect.getdoc(getattr(cls, name)):
                silent.append(f"{class_name}.{name}")
    assert not silent


def test_modules_of_tests_have_names_of_their_own() -> None:
    names = Counter(path.name for path in (ROOT / "tests").rglob("*.py") if path.name != "conftest.py")
    twice = [name for name, number in names.items() if number > 1]  # pytest collects only one of each
    assert not twice
