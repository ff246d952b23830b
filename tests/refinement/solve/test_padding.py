"""A padded clip is the same problem."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pytest
import torch
from problems import make_problem
from torch import Tensor

from pose_priors.refinement.given.problem import Problem, with_people
from pose_priors.refinement.refiner import RefinementInput, Stage5Refiner
from pose_priors.refinement.solve.config import RefinementConfig
from pose_priors.refinement.solve.contacts import detect_contacts
from pose_priors.refinement.solve.module import RefinementModule
from pose_priors.refinement.solve.objective import Objective
from pose_priors.refinement.solve.padding import padded

QUIET = {"enable_progress_bar": False}


def disturbed(problem: Problem, frames: int) -> RefinementModule:
    """A module with the same variables on the clip's frames, and any others on the padding."""
    module = RefinementModule(problem, RefinementConfig())
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.variables.parameters():
            if parameter.dim() > 2:
                parameter[:, :frames] = torch.randn(parameter[:, :frames].shape, generator=draw, dtype=parameter.dtype)
                parameter[:, frames:] = 7.0
            else:
                parameter.copy_(0.3 * torch.randn(parameter.shape, generator=draw, dtype=parameter.dtype))
    return module


@pytest.mark.parametrize("frames", [3, 11, 16])
def test_the_objective_and_its_gradient_are_those_of_the_clip_alone(frames: int) -> None:
    problem, _ = make_problem(frames=frames)
    focal = torch.linspace(1, 1.5, frames, dtype=torch.float64)[:, None, None] * problem.cameras.intrinsics
    problem = dataclasses.replace(problem, cameras=dataclasses.replace(problem.cameras, intrinsics=focal))
    found: list[tuple[float, list[Tensor], Tensor]] = []
    for multiple in (None, 8, 40):
        clip = padded(problem, multiple)
        assert clip.num_frames == frames
        assert len(clip.frame_ids) == (frames if multiple is None else -(-frames // multiple) * multiple)
        module = disturbed(clip, frames)
        contacts = detect_contacts(module.scene(), clip)
        assert not contacts[:, frames:].any()
        module.variables.contacts.copy_(contacts)
        terms = {term.name: (term, weight) for stage in module.stages for term, weight in stage.terms}
        objective = Objective(module.variables, list(terms.values()), clip)
        loss = objective()
        gradients = [p.grad for p in module.variables.parameters()]
        for gradient in gradients:
            if gradient.dim() > 2:
                assert not gradient[:, frames:].any()
        found.append((float(loss), [g[:, :frames] if g.dim() > 2 else g for g in gradients], contacts[:, :frames]))
    for loss, gradients, contacts in found[1:]:
        assert loss == pytest.approx(found[0][0], rel=1e-12)
        torch.testing.assert_close(contacts, found[0][2], rtol=1e-9, atol=1e-12)
        for gradient, reference in zip(gradients, found[0][1], strict=True):
            torch.testing.assert_close(gradient, reference, rtol=1e-8, atol=1e-9 * float(reference.abs().max()))


def test_lengths_of_87_and_35_both_run_as_100() -> None:
    for frames in (87, 35):
        problem, _ = make_problem(people=1, frames=frames)
        shapes = RefinementModule(padded(problem, 100), RefinementConfig()).variables.state_dict()
        assert shapes["global_orient"].shape[1] == 100
        assert shapes["contacts"].shape[1] == 100


def tensors(part: object, name: str = "") -> Iterator[tuple[str, Tensor]]:
    """All of a dataclass, those of the dataclasses in it too, by their names."""
    for each in dataclasses.fields(part):  # type: ignore[arg-type]
        value = getattr(part, each.name)
        if isinstance(value, Tensor):
            yield f"{name}{each.name}", value
        elif dataclasses.is_dataclass(value):
            yield from tensors(value, f"{name}{each.name}.")


def test_all_that_has_frames_gets_more_of_them_and_nothing_else() -> None:
    problem, _ = make_problem(frames=13)
    given, longer = dict(tensors(problem)), dict(tensors(padded(problem, 17)))
    assert any(value.shape[:1] == (13,) for value in given.values())
    for name, value in given.items():
        assert longer[name].shape == tuple(17 if size == 13 else size for size in value.shape), name


def test_all_that_has_people_gets_others_and_nothing_else() -> None:
    problem, _ = make_problem(people=5, frames=13)
    given, crowd = (
        dict(tensors(each)) for each in (problem, with_people(problem, tuple(range(7)), lambda _, value: torch.cat([value, value[:2]])))
    )
    assert len(given) == len(crowd)
    for name, value in given.items():
        assert crowd[name].shape == tuple(7 if size == 5 else size for size in value.shape), name


def test_a_clip_of_a_shared_length_is_left_as_it_is() -> None:
    problem, _ = make_problem(frames=12)
    assert padded(problem, 12) is problem
    assert padded(problem, None) is problem


def test_what_comes_out_is_the_same_on_the_frames_of_the_clip(monkeypatch: pytest.MonkeyPatch) -> None:
    """Through all sub-stages, in double precision: line searches carry the rounding of single precision far."""
    monkeypatch.setattr("pose_priors.refinement.refiner._DTYPE", torch.float64)
    problem, _ = make_problem(frames=11)
    few = {name: 3 for name in RefinementConfig.model_fields if name.endswith("_iterations") and name != "max_total_iterations"}
    configs = (RefinementConfig(pad_frames=multiple, convergence_threshold=0.0, **few) for multiple in (None, 20))
    own, shared = (Stage5Refiner(config, trainer=QUIET).refine(RefinementInput(problem)) for config in configs)
    assert own.results["num_frames"] == shared.results["num_frames"] == 11
    for name in ("global_orient", "body_pose", "pelvis", "joints", "contacts"):
        torch.testing.assert_close(getattr(shared, name), getattr(own, name), rtol=0, atol=1e-9)
    assert shared.results["scale_alpha"] == pytest.approx(own.results["scale_alpha"], abs=1e-9)
    assert shared.metrics["noise"] == pytest.approx(own.metrics["noise"])
