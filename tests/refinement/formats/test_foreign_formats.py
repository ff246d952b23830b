"""Formats of other packages: asked after ours, told apart by name, and refused in one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from upstream_truth import make_truth
from upstream_writers import write_gvhmr, write_prompthmr

from pose_priors.configs.base import UserError
from pose_priors.refinement.batch.sequences import find_sequences
from pose_priors.refinement.formats import FORMATS, UPSTREAM, files_of, read_upstream, recognize
from pose_priors.refinement.formats.clip import UpstreamClip
from pose_priors.refinement.formats.sequence import InputSequence
from pose_priors.refinement.formats.source import Source
from pose_priors.refinement.formats.tools import gvhmr
from refine import main

Install = Callable[..., Path]


class Tool:
    """What any tool might have written into a JSON file."""

    FILES = ("clip.json",)
    BESIDE = ("clip.txt",)

    def __init__(self, name: str, key: str = "people") -> None:
        self.NAME, self.key = name, key

    def detect(self, source: Source) -> bool:
        file = source.file(*self.FILES)
        return file is not None and file.suffix == ".json" and self.key in json.loads(file.read_text())

    def read(self, source: Source, warnings: list[str]) -> UpstreamClip:
        """That of GVHMR in the folder that the file names."""
        warnings.append(f"read by {self.NAME}")
        return gvhmr.read(Source(Path(json.loads(source.file(*self.FILES).read_text())[self.key])), warnings)


class Careless(Tool):
    def read(self, source: Source, warnings: list[str]) -> UpstreamClip:
        return []


class Blind(Tool):
    """Would take anything."""

    def detect(self, source: Source) -> bool:
        return True


first, second, careless, blind = Tool("First"), Tool("Second"), Careless("Careless"), Blind("Blind")
half = object()


def _named(*tools: str) -> dict[str, dict[str, str]]:
    return {FORMATS.group: {tool.capitalize(): f"{__name__}:{tool}" for tool in tools}}


@pytest.fixture
def walk(tmp_path: Path) -> Path:
    """A folder with a file that these tools know, and no tool of ours."""
    truth = write_gvhmr(tmp_path / "elsewhere" / "walk", make_truth(still=True))
    folder = tmp_path / "walk"
    folder.mkdir()
    (folder / "clip.json").write_text(json.dumps({"people": str(truth)}))
    (folder / "clip.txt").write_text("beside it")
    return folder


def _refused(call: Callable[[], object]) -> str:
    with pytest.raises(UserError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_an_entry_point_is_asked_where_none_of_ours_is(install: Install, walk: Path) -> None:
    assert recognize(walk) is None
    assert "not a result of Multi-TRAM, TRAM" in _refused(lambda: read_upstream(walk, []))
    install("their-tool", {}, _named("first"))
    assert recognize(walk) == recognize(walk / "clip.json") == "First"
    assert files_of(walk) == [walk / "clip.json", walk / "clip.txt"]
    warnings: list[str] = []
    assert len(read_upstream(walk, warnings).camera_bodies) == 1
    assert warnings[0] == "read by First"
    assert find_sequences(walk.parent) == [walk]
    assert f"{UPSTREAM[-1].NAME}, First; it holds" in _refused(lambda: read_upstream(walk / "clip.txt", []))


def test_ours_are_asked_first(install: Install, tmp_path: Path) -> None:
    install("their-tool", {}, _named("blind"))
    path = write_prompthmr(tmp_path / "walk", make_truth())
    assert recognize(path) == "PromptHMR"
    assert recognize(path, "Blind") == "Blind"


def test_two_that_claim_one_file_have_to_be_told_apart(install: Install, walk: Path) -> None:
    install("their-tools", {}, _named("first", "second"))
    for call in (recognize, lambda path: read_upstream(path, []), find_sequences):
        message = _refused(lambda call=call: call(walk))
        assert f"input.path={walk}: First and Second both take it for theirs; say which by input.format" in message
    warnings: list[str] = []
    read_upstream(walk, warnings, "Second")
    assert warnings[0] == "read by Second"


@pytest.mark.parametrize("name", [f"{__name__}:first", "First"])
def test_a_name_decides(install: Install, walk: Path, name: str) -> None:
    if name == "First":
        install("their-tool", {}, _named("first"))
    assert recognize(walk, name) == "First"
    assert find_sequences(walk.parent, name) == [walk]
    assert set(InputSequence.at(walk, name).files((1, 2, 3, 4))) == {"clip.json", "clip.txt"}
    (walk / "clip.json").write_text("{}")
    assert f"not a result of {name}; it holds clip.json" in _refused(lambda: read_upstream(walk, [], name))
    assert f"holds no result of {name}; it holds: elsewhere, walk" in _refused(lambda: find_sequences(walk.parent, name))


def test_ours_have_names_too(walk: Path) -> None:
    path = walk.parent / "elsewhere" / "walk"
    assert recognize(path, "GVHMR") == "GVHMR"
    assert recognize(path, "WHAM") is None
    assert "not a result of WHAM" in _refused(lambda: read_upstream(path, [], "WHAM"))


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("gvhmr", "input.format: 'gvhmr' names no format; allowed: Multi-TRAM, TRAM, 4DHumans / PHALP, WHAM, GVHMR"),
        ("no_such_package:reader", "input.format: no_such_package: no such module"),
        (f"{__name__}:third", "no third in"),
        (f"{__name__}:half", "an object of object, where a module or an object with NAME, FILES, BESIDE, detect and read is wanted"),
        (f"{__name__}:Blind", "the class Blind, where a module or an object"),
        ("os.path", "a module, where a module or an object with NAME"),
        (f"{__name__}:careless", "the format Careless read list, where UpstreamClip is wanted"),
    ],
)
def test_what_is_no_format_is_one_line(walk: Path, name: str, told: str) -> None:
    assert told in _refused(lambda: read_upstream(walk, [], name))


def test_a_name_of_ours_stays_ours(install: Install, walk: Path) -> None:
    install("their-tool", {}, {FORMATS.group: {"GVHMR": f"{__name__}:blind"}})
    path = walk.parent / "elsewhere" / "walk"
    assert recognize(path) == "GVHMR"
    assert "their-tool" in _refused(lambda: recognize(path, "GVHMR"))


def test_one_that_cannot_be_imported_leaves_the_others_alone(install: Install, walk: Path, caplog: pytest.LogCaptureFixture) -> None:
    points = _named("first")
    points[FORMATS.group]["Broken"] = "broken_tool"
    install("their-tools", {"broken_tool.py": "raise RuntimeError('no licence')"}, points)
    assert recognize(walk) == "First"
    (told,) = [record.getMessage() for record in caplog.records]
    assert "broken_tool: cannot be imported (RuntimeError: no licence)" in told
    assert "no licence" in _refused(lambda: recognize(walk, "Broken"))


def test_the_refinement_reads_it_and_knows_its_files(install: Install, walk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    install("their-tool", {}, _named("first"))
    few = [
        f"refinement.{name}_iterations=1" for name in ("root_fitting", "smpl_fitting", "motion_prior", "environmental", "scale", "final")
    ]

    def run(*overrides: str) -> float:
        main(["--config", "refinement", "--override", f"input.path={walk}", *few, "trainer.enable_progress_bar=false", *overrides])
        return (walk / "5_refinement" / "refinement_results.json").stat().st_mtime_ns

    done = run("input.format=First")
    assert run("input.format=First", "input.skip_existing=true") == done
    (walk / "clip.txt").write_text("changed")
    assert run("input.format=First", "input.skip_existing=true") > done
    with np.load(walk / "5_refinement" / "person_001" / "smpl_params_refined.npz") as arrays:
        assert np.isfinite(arrays["joints"]).all()
