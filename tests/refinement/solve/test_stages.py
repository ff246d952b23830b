"""The sub-stages follow the configuration."""

from __future__ import annotations

import math

import pytest
from pydantic import ValidationError

from pose_priors.refinement.solve import terms as loss_terms
from pose_priors.refinement.solve.config import RefinementConfig
from pose_priors.refinement.solve.noise import NoiseLevels
from pose_priors.refinement.solve.stages import make_stages
from pose_priors.refinement.solve.terms import StayNearScale
from pose_priors.refinement.solve.weights import NATURAL_WEIGHTS

NOISE = NoiseLevels(keypoint_px=3.0, rotation_rad=0.01, hand_rotation_rad=0.02, depth_ratio=0.005, bias=0.013)
NAMES = ["root", "smpl", "motion", "environmental", "scale", "final"]
SWITCHES = {
    "enable_root_fitting": "root",
    "enable_smpl_fitting": "smpl",
    "enable_motion_prior": "motion",
    "enable_environmental_constraints": "environmental",
    "enable_scale_optimization": "scale",
    "enable_final_refinement": "final",
}


def names(config: RefinementConfig) -> list[str]:
    return [stage.name for stage in make_stages(config, NOISE)]


def terms(config: RefinementConfig, stage: str) -> dict[str, float]:
    (found,) = [s for s in make_stages(config, NOISE) if s.name == stage]
    return {term.name: weight for term, weight in found.terms}


def test_all_by_default_in_order_and_three_hundred_iterations() -> None:
    assert names(RefinementConfig()) == NAMES
    assert sum(stage.iterations for stage in make_stages(RefinementConfig(), NOISE)) == 300


@pytest.mark.parametrize(("switch", "name"), SWITCHES.items())
def test_each_switch_takes_out_its_own(switch: str, name: str) -> None:
    assert names(RefinementConfig(**{switch: False})) == [other for other in NAMES if other != name]


def test_no_iterations_no_stage() -> None:
    assert names(RefinementConfig(scale_iterations=0)) == [name for name in NAMES if name != "scale"]


def test_lambdas_multiply_and_zero_leaves_out() -> None:
    plain, doubled = terms(RefinementConfig(), "final"), terms(RefinementConfig(lambda_skate=200.0), "final")
    assert doubled["skate"] == pytest.approx(2 * plain["skate"])
    assert {k: v for k, v in doubled.items() if k != "skate"} == {k: v for k, v in plain.items() if k != "skate"}
    assert "depth" not in terms(RefinementConfig(lambda_depth=0.0), "final")


def test_later_stages_know_nothing_of_one_that_is_off() -> None:
    assert "skate" not in terms(RefinementConfig(enable_environmental_constraints=False), "final")
    stages = {s.name: s for s in make_stages(RefinementConfig(enable_scale_optimization=False), NOISE)}
    assert "scale" not in stages["final"].free
    assert "multi_scale" not in terms(RefinementConfig(enable_scale_optimization=False), "final")


def test_what_is_not_to_move_does_not() -> None:
    stages = make_stages(RefinementConfig(optimize_ground_plane=False), NOISE, scale_width=0.0)
    assert not {"scale", "plane"} & {name for stage in stages for name in stage.free}
    assert stages[0].free == ("global_orient", "pelvis", "depth_bias")


@pytest.mark.parametrize(("width", "held"), [(0.0, False), (0.03, True), (math.inf, False)])
def test_the_scale_is_held_where_nothing_that_was_seen_tells_it(width: float, held: bool) -> None:
    for stage in make_stages(RefinementConfig(), NOISE, scale_width=width):
        found = [(term, weight) for term, weight in stage.terms if isinstance(term, StayNearScale)]
        assert len(found) == (held and stage.name in ("scale", "final"))
        for term, weight in found:
            assert term.sigma == width
            assert weight >= 10  # a word that counts once would be lost among joints and frames


@pytest.mark.parametrize(
    ("field", "value"), [("alpha_change_threshold", 1.5), ("lambda_data", -1.0), ("ground_plane_init", "mean"), ("lambda_dta", 1.0)]
)
def test_nonsense_is_refused(field: str, value: object) -> None:
    with pytest.raises(ValidationError):
        RefinementConfig(**{field: value})


def test_every_term_has_a_natural_weight_and_a_lambda_of_the_configuration() -> None:
    public = [getattr(loss_terms, name) for name in loss_terms.__all__]
    assert set(NATURAL_WEIGHTS) == {term for term in public if isinstance(term, type)} - {loss_terms.Term}
    assert {weight.multiplier for weight in NATURAL_WEIGHTS.values()} == {
        n for n in RefinementConfig.model_fields if n.startswith("lambda_")
    }


def test_what_each_term_weighs_by_default() -> None:
    data = {"keypoints": 1.0, "near_root": 1.0, "near_pose": 1.0, "depth": 1.0}
    body = {"beta": 1.0, "pose": 0.15}
    floor = {"skate": 1.0, "contact": 1.0, "penetration": 1.0, "scene_floor": 1.0}
    expected = {
        "root": data | {"smooth": 0.15},
        "smpl": data | body | {"smooth": 0.15},
        "motion": data | body | {"smooth": 0.15},
        "environmental": data | body | {"smooth": 0.15} | floor,
        "scale": data | body | {"smooth": 0.15} | floor | {"multi_scale": 0.1},
        "final": data | body | {"smooth": 0.15} | floor | {"multi_scale": 0.1},
    }
    for name, weights in expected.items():
        found = terms(RefinementConfig(), name)
        assert list(found) == list(weights)  # in this order, which the rounding of their sum hangs on
        assert found == pytest.approx(weights)


def test_contacts_are_found_from_the_floor_on() -> None:
    assert [s.name for s in make_stages(RefinementConfig(), NOISE) if s.find_contacts] == ["environmental", "scale", "final"]
    assert not any(s.find_contacts for s in make_stages(RefinementConfig(enable_environmental_constraints=False), NOISE))
