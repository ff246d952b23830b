"""Terms that a configuration adds: ours and those of others, in which sub-stages, and what is refused."""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from problems import make_problem
from pydantic import Field, ValidationError
from torch import Tensor

from pose_priors.configs.base import UserError
from pose_priors.configs.load import load_config
from pose_priors.refinement.batch.experiment import RefinementExperiment
from pose_priors.refinement.given.problem import Problem
from pose_priors.refinement.refiner import RefinementInput, Stage5Refiner
from pose_priors.refinement.result.summary import RefinementOutput
from pose_priors.refinement.solve.config import RefinementConfig
from pose_priors.refinement.solve.extra import TERMS, ExtraTerm
from pose_priors.refinement.solve.module import RefinementModule
from pose_priors.refinement.solve.scene import Scene
from pose_priors.refinement.solve.terms import NAMED, MotionLikelihood, Penetration, Smoothness, Term

QUIET = {"enable_progress_bar": False}
STAGES = ("root", "smpl", "motion", "environmental", "scale", "final")
FEW = {f"{name}_iterations": 3 for name in ("root_fitting", "smpl_fitting", "motion_prior", "environmental", "scale", "final")}


class Pull(Term):
    """The first person's pelvis belongs to a depth."""

    name: ClassVar[str] = "pull"
    depth: float = Field(4.0, gt=0)
    breaks: bool = False

    def __call__(self, scene: Scene, problem: Problem) -> Tensor:
        value = (scene.camera_joints[0, :, 0, 2] - self.depth).square().mean()
        return value * math.nan if self.breaks else value


class Nameless(Term):
    def __call__(self, scene: Scene, problem: Problem) -> Tensor:
        return scene.alpha * 0


class Total(Nameless):
    name: ClassVar[str] = "total"


HERE = f"{__name__}:Pull"


def _stages(**fields: Any) -> dict[str, list[tuple[str, float]]]:
    problem, _ = make_problem(frames=6)
    module = RefinementModule(problem, RefinementConfig(**fields))
    return {stage.name: [(term.name, weight) for term, weight in stage.terms] for stage in module.stages}


def _refined(**fields: Any) -> RefinementOutput:
    problem, _ = make_problem(frames=8)
    return Stage5Refiner(RefinementConfig(**FEW, **fields), trainer=QUIET).refine(RefinementInput(problem))


def _depth(output: RefinementOutput) -> float:
    problem, _ = make_problem(frames=8)
    w2c = problem.cameras.w2c.float()
    return float((w2c[:, 2:3, :3] @ output.joints[0, :, 0, :, None] + output.scale_alpha * w2c[:, 2:3, 3:]).mean())


def test_it_joins_the_sub_stages_that_are_named() -> None:
    everywhere = {"kind": HERE, "weight": 0.5, "depth": 3.0}
    before, after = _stages(), _stages(extra_terms=[everywhere])
    assert tuple(after) == STAGES
    assert all(after[name] == [*before[name], ("pull", 0.5)] for name in STAGES)
    some = _stages(extra_terms=[everywhere | {"stages": ["root", "final"]}, {"kind": "penetration", "weight": 2.0, "stages": ["smpl"]}])
    assert {name for name in STAGES if ("pull", 0.5) in some[name]} == {"root", "final"}
    assert some["smpl"] == [*before["smpl"], ("penetration", 2.0)]
    assert some["motion"] == before["motion"]
    assert "final" not in _stages(enable_final_refinement=False, extra_terms=[everywhere | {"stages": ["final"]}])


def test_it_pulls_and_is_logged() -> None:
    without, plain = _refined(), {"kind": HERE, "weight": 1000.0, "depth": 3.5, "stages": ["final"]}
    output = _refined(extra_terms=[plain])
    losses = {name: report["losses"] for name, report in output.metrics["sub_stages"].items()}
    assert [name for name in STAGES if "pull" in losses[name]] == ["final"]
    assert losses["final"]["pull"][-1] < losses["final"]["pull"][0]
    assert abs(_depth(output) - 3.5) < abs(_depth(without) - 3.5) - 0.1
    assert without.joints.shape == output.joints.shape


def test_one_that_is_not_finite_is_treated_as_any_other() -> None:
    output = _refined(extra_terms=[{"kind": HERE, "weight": 1.0, "breaks": True, "stages": ["smpl"]}])
    reports = output.metrics["sub_stages"]
    assert reports["smpl"]["failures"] > 0
    assert reports["final"]["failures"] == 0
    assert torch.isfinite(output.joints).all()


def test_ours_that_take_numbers_alone_are_there_by_name() -> None:
    assert NAMED["penetration"] is Penetration
    assert all(name == term.name for name, term in NAMED.items())
    assert MotionLikelihood not in NAMED.values()
    entry = ExtraTerm(kind="smooth", weight=1.0, acceleration=3.0)
    assert entry.term == Smoothness(acceleration=3.0)


def test_an_entry_point_is_a_name(install: Callable[..., Path]) -> None:
    install("their-terms", {}, {TERMS.group: {"pull": HERE}})
    assert ExtraTerm(kind="pull", weight=1.0, depth=2.0).term == Pull(depth=2.0)


def test_a_name_of_ours_stays_ours(install: Callable[..., Path]) -> None:
    install("their-terms", {}, {TERMS.group: {"smooth": HERE}})
    with pytest.raises(ValidationError, match="their-terms"):
        ExtraTerm(kind="smooth", weight=1.0)


def test_a_config_with_one_is_data() -> None:
    config = RefinementConfig(extra_terms=[{"kind": HERE, "weight": 0.5, "depth": 3.0}])
    assert config.model_dump(mode="json")["extra_terms"] == [{"kind": HERE, "weight": 0.5, "stages": None, "depth": 3.0}]
    assert RefinementConfig.model_validate(config.model_dump(mode="json")) == config
    assert pickle.loads(pickle.dumps(config)) == config
    assert config != RefinementConfig(extra_terms=[{"kind": HERE, "weight": 0.5, "depth": 2.0}])


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ("{weight: 1.0}", "extra_terms.0.kind: field required"),
        ("{kind: smooth}", "extra_terms.0.weight: field required"),
        ("{kind: smooth, weight: 0.0}", "extra_terms.0.weight: input should be greater than 0"),
        ("{kind: smooth, weight: 1.0, stages: [last]}", "extra_terms.0.stages.0: input should be 'root', 'smpl'"),
        ("{kind: smooth, weight: 1.0, accel: 2.0}", "accel: unknown key; allowed for smooth: kind, weight, stages, acceleration, freedom"),
        ("{kind: smooth, weight: 1.0, acceleration: fast}", "extra_terms.0.acceleration: input should be a valid number, found 'fast'"),
        ("{kind: keypoints, weight: 1.0}", "extra_terms.0.sigma_px: field required"),
        (f"{{kind: '{HERE}', weight: 1.0, depth: -1.0}}", "extra_terms.0.depth: input should be greater than 0"),
        ("{kind: smoth, weight: 1.0}", "kind: 'smoth' names no term; allowed: keypoints, "),
        ("{kind: 'no_such_package:Pull', weight: 1.0}", "no_such_package: no such module"),
        (f"{{kind: '{__name__}:Push', weight: 1.0}}", "no Push in"),
        (f"{{kind: '{__name__}:Nameless', weight: 1.0}}", "the class Nameless, where a strict and frozen subclass of"),
        (f"{{kind: '{__name__}:Total', weight: 1.0}}", "the class Total, where a strict and frozen subclass of"),
        (f"{{kind: '{__name__}:Scene', weight: 1.0}}", "the class Scene, where a strict and frozen subclass of"),
    ],
)
def test_mistakes_are_one_line_that_says_where(tmp_path: Path, entry: str, told: str) -> None:
    (tmp_path / "refinement.yaml").write_text(f"refinement: {{extra_terms: [{entry}]}}\n")
    with pytest.raises(UserError) as caught:
        load_config(RefinementExperiment, str(tmp_path / "refinement.yaml"))
    message = str(caught.value)
    assert "\n" not in message
    assert "refinement.extra_terms.0" in message
    assert told in message


def test_two_of_one_name_in_a_sub_stage_are_refused() -> None:
    with pytest.raises(UserError, match=r"extra_terms: smooth would be in sub-stage root twice: .*lambda"):
        _stages(extra_terms=[{"kind": "smooth", "weight": 1.0}])
    twice = [{"kind": HERE, "weight": 1.0, "stages": [stage]} for stage in ("scale", "final")]
    assert set(_stages(extra_terms=twice)) == set(STAGES)
    with pytest.raises(UserError, match="pull would be in sub-stage final twice"):
        _stages(extra_terms=[*twice, {"kind": HERE, "weight": 1.0, "stages": ["final"]}])
    assert ("smooth", 1.0) in _stages(lambda_smooth=0.0, extra_terms=[{"kind": "smooth", "weight": 1.0}])["root"]
