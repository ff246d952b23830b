"""Packages of somebody else's."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
import torch
from stand_ins.anny_body import AnnyStandIn

from pose_priors.body.anny import model as anny_model

Install = Callable[..., Path]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Half of the quick files, then those with slow tests, then the other half, which fill the processes up to one end.

    Processes are given whole files, in this order: one that began with minutes of work when all else was done would be waited for.
    """
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    quick = list(dict.fromkeys(item.path for item in items if item.path not in slow))
    turn = {path: index >= len(quick) // 2 for index, path in enumerate(quick)}
    items.sort(key=lambda item: 2 * turn[item.path] if item.path in turn else 1)


@pytest.fixture
def install(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Lays a package where Python finds it, as pip would: its files by their paths, its entry points by group and name."""
    names: set[str] = set()

    def lay(name: str, files: Mapping[str, str], entry_points: Mapping[str, Mapping[str, str]] | None = None) -> Path:
        site = tmp_path_factory.mktemp("site")
        for path, text in files.items():
            (site / path).parent.mkdir(parents=True, exist_ok=True)
            (site / path).write_text(text)
            names.add(Path(path).parts[0].removesuffix(".py"))
        about = site / f"{name}-1.0.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        groups = (entry_points or {}).items()
        (about / "entry_points.txt").write_text(
            "\n".join(line for group, points in groups for line in (f"[{group}]", *(f"{key} = {value}" for key, value in points.items())))
        )
        monkeypatch.syspath_prepend(site)
        return site

    yield lay
    for module in [module for module in sys.modules if module.split(".")[0] in names]:
        del sys.modules[module]


@contextmanager
def _threads(number: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@pytest.fixture
def torch_threads() -> Callable[[int], AbstractContextManager[None]]:
    """Makes a block in which torch has so many threads."""
    return _threads


@pytest.fixture
def one_thread() -> Iterator[None]:
    """For what is compared bit for bit with a fork, which has one: the threads of OpenMP do not survive it."""
    with _threads(1):
        yield


@pytest.fixture
def two_threads() -> Iterator[None]:
    """Of torch, however many it has elsewhere."""
    with _threads(2):
        yield


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoints of a run of two epochs, not to be written to."""
    from resume_cases import QUIET
    from test_train import run

    folder = tmp_path_factory.mktemp("finished")
    run("gaussian_prior", folder, "training.ema_decay=0.9", QUIET)
    return folder / "ckpt"


@pytest.fixture(autouse=True)
def _anny_is_not_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nobody says what people wear, they are capsules: to make Anny's body takes minutes."""
    monkeypatch.setattr(anny_model, "find_spec", lambda name: None)


@pytest.fixture
def anny_stand_in(monkeypatch: pytest.MonkeyPatch) -> anny_model.AnnyBody:
    """A body with Anny's bones, there as if the package were installed."""
    body = anny_model.AnnyBody(AnnyStandIn())
    monkeypatch.setattr(anny_model, "find_spec", lambda name: name)
    monkeypatch.setattr(anny_model, "load_anny", lambda: body)
    return body
