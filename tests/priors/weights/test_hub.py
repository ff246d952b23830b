"""Priors on Hugging Face's hub, as its cache on this disk holds them; nothing is asked of any network."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from weight_cases import content_of, prior_of

from pose_priors import load_prior
from pose_priors.configs.base import UserError
from pose_priors.priors import prior_files
from pose_priors.priors.weights.folder import CONFIG, WEIGHTS, write_folder
from pose_priors.priors.weights.hub import fetched

hub = pytest.importorskip("huggingface_hub", reason="huggingface_hub, which fetches, is not installed")
constants = pytest.importorskip("huggingface_hub.constants")
OLD, NEW = "a" * 40, "b" * 40


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The hub's cache with one repository: at first a Gaussian, then a motion flow, beside another in a folder."""
    root = tmp_path_factory.mktemp("hub")
    place = root / "models--someone--priors"
    for commit, inside, name in ((OLD, "", "gaussian-full"), (NEW, "", "motion_flow"), (NEW, "poses/small", "gaussian-joint")):
        folder = place / "snapshots" / commit / inside
        folder.mkdir(parents=True, exist_ok=True)
        write_folder(prior_of(name), content_of(name), folder)
        for file in (folder / CONFIG, folder / WEIGHTS):
            blob = place / "blobs" / f"{commit}{inside.replace('/', '')}{file.name}"
            blob.parent.mkdir(exist_ok=True)
            file.rename(blob)
            file.symlink_to(os.path.relpath(blob, file.parent))  # as the hub's cache does
    for reference, commit in (("main", NEW), ("v1", OLD), ("refs/pr/1", OLD)):
        path = place / "refs" / reference
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(commit)
    (place / "snapshots" / NEW / "half").mkdir()
    shutil.copy(place / "snapshots" / NEW / CONFIG, place / "snapshots" / NEW / "half")
    return root


@pytest.fixture
def offline(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What HF_HUB_OFFLINE=1 and HF_HUB_CACHE set in a new process."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    return cache


ADDRESSES = {
    "hf://someone/priors": "motion_flow",
    "hf://someone/priors/": "motion_flow",
    "hf://someone/priors@main": "motion_flow",
    "hf://someone/priors@v1": "gaussian-full",
    "hf://someone/priors@refs%2Fpr%2F1": "gaussian-full",
    f"hf://someone/priors@{OLD}": "gaussian-full",
    "hf://someone/priors/poses/small": "gaussian-joint",
    "hf://someone/priors@main/poses/small": "gaussian-joint",
}


@pytest.mark.parametrize("address", ADDRESSES)
def test_addresses(address: str, offline: Path) -> None:
    prior = prior_of(ADDRESSES[address])
    for given in (address, Path(address)):  # a Path keeps one slash of two
        found = load_prior(given)
        assert type(found) is type(prior)
        assert all(torch.equal(a, b) for a, b in zip(found.state_dict().values(), prior.state_dict().values(), strict=True))
    assert [path.name for path in prior_files(address)] == [CONFIG, WEIGHTS]
    assert all(offline in path.parents for path in prior_files(address))


REFUSED = {
    "hf://someone": "no address on the hub",
    "hf://someone/priors@": "no address on the hub",
    "hf://someone/priors/../../x": "no address on the hub",
    "hf://someone/priors@v 1": "no address on the hub",
    "hf:///etc/passwd/x": "no address on the hub",
    "hf://someone/pri--ors": "pri--ors",
    "hf://someone/else": "HF_HUB_OFFLINE is set",
    "hf://someone/priors@v2": "HF_HUB_OFFLINE is set",
    "hf://someone/priors/nowhere": "HF_HUB_OFFLINE is set",
    "hf://someone/priors/half": "HF_HUB_OFFLINE is set",
}


@pytest.mark.parametrize("address", REFUSED)
@pytest.mark.usefixtures("offline")
def test_what_is_not_there_is_one_line(address: str) -> None:
    with pytest.raises(UserError) as caught:
        load_prior(address)
    assert REFUSED[address] in str(caught.value)
    assert str(caught.value).startswith(f"{address}: ")
    assert len(str(caught.value)) < 500


def _response(status: int) -> Any:
    httpx = sys.modules[hub.errors.HfHubHTTPError.__mro__[1].__module__.split(".")[0]]
    return httpx.Response(status, request=httpx.Request("HEAD", "https://huggingface.co/someone/priors"))


ANSWERS: dict[str, tuple[Any, str]] = {
    "private": (lambda: hub.errors.RepositoryNotFoundError("no\nsuch", response=_response(401)), "no such repository, or a private one"),
    "gated": (lambda: hub.errors.GatedRepoError("no", response=_response(403)), "ask at huggingface.co/someone/priors"),
    "revision": (lambda: hub.errors.RevisionNotFoundError("no", response=_response(404)), "no revision main"),
    "entry": (lambda: hub.errors.RemoteEntryNotFoundError("no", response=_response(404)), "its top folder lacks config.json"),
    "network": (lambda: ConnectionError("a\nb"), "cannot be fetched (a b)"),
    "disk": (lambda: OSError(28, "No space left on device"), "No space left"),
}


@pytest.mark.parametrize("kind", ANSWERS)
def test_answers_of_the_hub_are_one_line(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    answer, words = ANSWERS[kind]

    def download(*_: Any, **__: Any) -> str:
        raise answer()

    monkeypatch.setattr(hub, "hf_hub_download", download)
    with pytest.raises(UserError, match=r"^hf://someone/priors: .*") as caught:
        load_prior("hf://someone/priors")
    assert words in str(caught.value)


def test_both_files_are_of_one_commit_and_nothing_else_is_fetched(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def download(repository: str, name: str, revision: str, **_: Any) -> str:
        asked.append((repository, name, revision))
        return str(cache / "models--someone--priors" / "snapshots" / NEW / name)

    monkeypatch.setattr(hub, "hf_hub_download", download)
    fetched("hf://someone/priors@dev/poses/small")
    assert asked == [("someone/priors", f"poses/small/{CONFIG}", "dev"), ("someone/priors", f"poses/small/{WEIGHTS}", NEW)]


def test_without_the_library_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UserError, match=r"huggingface_hub is missing.*pip install 'pose-priors\[hub\]'"):
        load_prior("hf://someone/priors")


def test_the_library_s_own_variables_keep_a_process_off_the_network(cache: Path) -> None:
    code = """
import socket
def refused(self, address, *_):
    raise AssertionError(f"a connection to {address}")
socket.socket.connect = socket.socket.connect_ex = refused
from pose_priors import load_prior
print(type(load_prior("hf://someone/priors@v1")).__name__)
"""
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": str(cache)}
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, env=environment, capture_output=True, text=True, check=False)
    assert done.stdout == "Gaussian\n", done.stderr[-2000:]
