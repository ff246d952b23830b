"""Which results the review page is asked to show."""

from __future__ import annotations

from pathlib import Path

import pytest
from review_results import make_results
from scenes import Clip

from pose_priors.configs.base import UserError
from pose_priors.refinement.result.found import find_results, selected
from pose_priors.refinement.show.review import main


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory, clips: dict[str, Clip]) -> Path:
    """Two sequences, not to be written to."""
    root = tmp_path_factory.mktemp("results")
    make_results(root, clips["released"], ["stand", "walk"])
    return root


def test_results_are_chosen_by_their_names_and_numbers(results: Path) -> None:
    found = find_results(results)
    assert [result.name for result in selected(found, "and")] == ["stand"]
    assert [result.name for result in selected(found, "*a*", 1)] == ["walk"]
    assert [result.name for result in selected(found, None, 0, 1)] == ["stand"]
    with pytest.raises(UserError, match="pattern run: no sequence has such a name; there are stand, walk"):
        selected(found, "run")
    with pytest.raises(UserError, match=r"start-idx\.\.end-idx 2\.\.: holds none of the 2 sequences"):
        selected(found, None, 2)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ([], "one folder of results is expected, by itself or as --results-root-dir"),
        (["--bg-pc-downsample-factor", "40"], "--bg-pc-downsample-factor 40: 1 to 16 is expected"),
        (["--pattern", "run"], "pattern run: no sequence has such a name"),
        (["--start-idx", "5"], r"start-idx\.\.end-idx 5\.\.: holds none"),
        (["--confidence-threshold", "7"], "--conf-thr 7: a share from 0 to 1"),
    ],
)
def test_flags_that_show_nothing_are_refused_before_the_page(results: Path, flags: list[str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        main(["--results-root-dir", str(results), *flags] if flags else [])
