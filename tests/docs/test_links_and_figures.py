"""Links of pages lead somewhere, figures say what they show and how they are made."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
_LINK = re.compile(r"\]\(([^)#\s]+?)(?:#([^)\s]+))?\)")
_FIGURE = re.compile(r"(?:^!\[[^\]]*\]\([^)]+\)\n)+(.*(?:\n.+)*)", re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target, anchor in _LINK.findall(page.read_text()):
        if "://" in target or target.startswith("mailto:"):
            continue
        path = page.parent / target
        assert path.exists(), f"{page.name} -> {target}"
        if anchor:
            heads = re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE)
            known = {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}
            assert anchor in known, f"{page.name} -> {target}#{anchor}"


def test_figures_have_captions_that_say_how_they_are_made() -> None:
    captions = [caption for page in PAGES for caption in _FIGURE.findall(page.read_text())]
    pictures = sum(len(re.findall(r"^!\[", page.read_text(), re.MULTILINE)) for page in PAGES)
    assert pictures >= 8
    assert len(captions) == pictures - 1  # two of one sort share theirs
    for caption in captions:
        assert re.fullmatch(r"\*[^*]+`[^*]+`[^*]*\*", caption), caption
        assert len(caption) > 100, caption


def test_readme_fits_two_screens() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 125
