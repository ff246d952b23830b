"""README is followed to the letter, scaled down, and a whole fit of docs/fit_your_own.md with the prior that it leaves."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from followed import Followed
from not_followed import GROUPS


@pytest.mark.slow
@pytest.mark.parametrize("pages", [GROUPS["readme"]])
def test_readme_and_the_fit_are_followed_to_the_letter(pages: tuple[str, ...], follow_to_the_end: Callable[[str], Followed]) -> None:
    readme, fit = pages
    assert follow_to_the_end(readme).num_run >= 15
    made = (
        "demo/joint_flow/best.ckpt",
        "demo/scene/figure_paths.png",
        "demo/evaluation/metrics.json",
        "cleaned/walk_0.npz",
        "scores/keep.txt",
        "results/my_video/5_refinement/refinement_results.json",
    )
    for path in made:
        assert Path(path).is_file(), path
    assert list(Path("results/built_in").rglob("*.glb"))
    # a whole fit, with the prior of `make demo`
    done = follow_to_the_end(fit)
    assert done.num_run == 6
    found = re.search(r"(\S+) -> (\S+) nats, ends off by (\d+) mm", done.said.getvalue())
    assert found is not None
    assert float(found[2]) < float(found[1])
    assert int(found[3]) < 60  # of ends that are seen within 35 mm in each direction
