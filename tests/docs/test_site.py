"""The site: built strictly, whole, and sure to fail on a link, an anchor or a name that leads nowhere."""

from __future__ import annotations

import importlib
import logging
import re
import shutil
from pathlib import Path

import pytest
from mkdocs.commands.build import build
from mkdocs.config import load_config
from mkdocs.exceptions import Abort

ROOT = Path(__file__).parents[2]
# what a program may name without a prefix is on a page of the API; kinds and configs of priors stand in docs/priors.md
DOORS = {"pose_priors": {"__version__"}, "pose_priors.priors": {"KINDS", "AnyPriorConfig", "PriorConfig"}, "pose_priors.refinement": set()}


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_MKDOCS_2_WARNING", "1")


def built(site: Path, **settings: object) -> Path:
    config = load_config(str(ROOT / "mkdocs.yml"), site_dir=str(site), **settings)
    config.plugins.on_startup(command="build", dirty=False)
    try:
        build(config)
    finally:
        config.plugins.on_shutdown()
    return site


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(tmp_path_factory.mktemp("site") / "html")


def test_readme_is_the_first_page_and_its_pictures_are_there(site: Path) -> None:
    page = (site / "index.html").read_text()
    assert "pose-priors" in page
    pictures = [name for name in re.findall(r'<img[^>]*src="([^"]+)"', page) if not name.startswith(("data:", "assets/"))]
    assert pictures
    assert all((site / name).is_file() for name in pictures)


def test_every_page_is_on_it(site: Path) -> None:
    for path in (ROOT / "docs").rglob("*.md"):
        at = path.relative_to(ROOT / "docs").with_suffix("")
        assert (site / (at.parent if at.name == "index" else at) / "index.html").is_file(), at
    assert (site / "configs" / "pipeline.yaml").is_file()  # what pages point to beside them


def test_every_public_name_has_its_docstring_on_a_page(site: Path) -> None:
    page = "".join(path.read_text() for path in (site / "api").rglob("*.html"))
    known = set(re.findall(r'id="(pose_priors[\w.]+)"', page))
    for door, left_out in DOORS.items():
        room = importlib.import_module(door)
        for name in set(room.__all__) - left_out:
            thing = getattr(room, name)
            place = getattr(thing, "__module__", "")  # an alias of a type says where typing is
            wanted = (
                {f"{place}.{thing.__qualname__}"} if place.startswith("pose_priors") else {one for one in known if one.endswith(f".{name}")}
            )
            assert wanted & known, f"{door}.{name}"


def test_what_leads_nowhere_fails_the_build(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    docs = tmp_path / "docs"
    shutil.copytree(ROOT / "docs", docs, ignore=shutil.ignore_patterns("api", "*.png"))
    (docs / "data.md").write_text("# Data\n\n[gone](gone.md), [no such heading](priors.md#no-such-heading)\n")
    (docs / "api").mkdir()
    for name in ("index", "priors", "poses", "motions", "refinement"):
        (docs / "api" / f"{name}.md").write_text("# Page\n")
    (docs / "left_out.md").write_text("# A page that nothing leads to\n")
    with caplog.at_level(logging.WARNING), pytest.raises(Abort, match="strict mode"):
        built(tmp_path / "html", docs_dir=str(docs))
    for said in ("'gone.md'", "no-such-heading", "left_out.md"):
        assert said in caplog.text, said


def test_a_name_that_is_gone_fails_the_build(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "page.md").write_text("# API\n\n::: pose_priors.priors.base.NoSuchPrior\n")
    with pytest.raises(Abort):
        built(tmp_path / "html", docs_dir=str(tmp_path / "docs"), nav=[{"API": "page.md"}])
