"""Images of a clip are exact, and what the refinement makes of them is the image of what it makes of the clip."""

from __future__ import annotations

import numpy as np
import pytest

from pose_priors.benchmarks import refinement_symmetries
from pose_priors.benchmarks.refinement_symmetries import IMAGES, main, problem_of, refined
from pose_priors.configs.base import UserError
from pose_priors.datamodules.stage_folders import Stages
from pose_priors.datamodules.synthetic.scenes.stress.families import FAMILIES
from pose_priors.datamodules.synthetic.scenes.stress.faults import found
from pose_priors.datamodules.synthetic.scenes.stress.filming import filmed


@pytest.fixture(scope="module")
def stages() -> Stages:
    return found(FAMILIES["reference"], filmed(FAMILIES["reference"], 1), 1)


@pytest.mark.parametrize("name", IMAGES)
def test_an_image_turned_back_is_the_clip(stages: Stages, name: str) -> None:
    image = IMAGES[name]
    one, other = problem_of(stages), problem_of(image.of(stages))
    joints = (problem.start.joints(problem.bodies).double().numpy() for problem in (other, one))
    np.testing.assert_allclose(image.back(next(joints)), next(joints), atol=1e-6)
    seen = [problem.observations for problem in (one, other)]
    assert seen[0].joint_depth.any()
    for values in (seen[0].joint_depth_confidence, seen[0].keypoint_confidence):
        assert values.any()
    sums = [float(observed.joint_depth.sum() * problem.start.alpha0) for observed, problem in zip(seen, (one, other), strict=True)]
    assert sums[0] == pytest.approx(sums[1], rel=1e-6)
    told = [float((observed.keypoint_confidence * observed.joint_depth_confidence).sum()) for observed in seen]
    assert told[0] == pytest.approx(told[1], rel=1e-6)


@pytest.mark.slow
def test_what_is_made_of_a_mirror_image_is_a_mirror_image(stages: Stages) -> None:
    image = IMAGES["in a mirror"]
    off = np.linalg.norm(image.back(refined(image.of(stages))) - refined(stages), axis=-1)
    assert off.mean() < 3e-4


def test_a_row_for_each_family(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(refinement_symmetries, "refined", lambda stages: stages.world.joints)
    main(["reference", "size_10"])
    rows = capsys.readouterr().out.splitlines()
    assert len(rows) == 4
    values = rows[2].split(" | ")
    assert values[0] == "| reference"
    # joints of stage 4 that stages of another unit carried are in that unit
    assert [value.removesuffix(" |") for name, value in zip(IMAGES, values[1:], strict=True) if name != "another unit"] == [
        "0.000 (0.00)"
    ] * 5


def test_a_family_that_there_is_not() -> None:
    with pytest.raises(UserError, match="no family is called nobody; there are"):
        main(["nobody"])
