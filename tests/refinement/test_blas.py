"""Which threads the refinement's small matrices are worked on."""

from __future__ import annotations

from threading import Event, Thread

import pytest
import threadpoolctl
import torch
from problems import make_problem

from pose_priors.configs.threads.blas import in_one_thread
from pose_priors.refinement.refiner import RefinementInput, Stage5Refiner
from pose_priors.refinement.result import summary, uncertainty
from pose_priors.refinement.solve.config import RefinementConfig
from pose_priors.refinement.solve.curvature import gauss_newton


def threads() -> set[int]:
    return {pool["num_threads"] for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"} | {torch.get_num_threads()}


pytestmark = pytest.mark.usefixtures("two_threads")


def test_a_function_has_one_thread_and_leaves_the_others_to_the_rest() -> None:
    @in_one_thread
    def fails(value: int) -> int:
        """What it is."""
        assert threads() == {1}
        return 1 // value

    with threadpoolctl.threadpool_limits(2, user_api="blas"):
        assert fails(1) == 1
        assert threads() == {2}
        with pytest.raises(ZeroDivisionError):
            fails(value=0)
        assert threads() == {2}
    assert fails.__doc__ == "What it is."


def test_a_call_within_another_leaves_it_its_one_thread() -> None:
    met = []

    @in_one_thread
    def inner(fails: bool) -> None:
        met.append(threads())
        if fails:
            raise ValueError("it fails")

    @in_one_thread
    def outer() -> None:
        inner(False)
        met.append(threads())
        with pytest.raises(ValueError, match="it fails"):
            inner(True)
        met.append(threads())

    with threadpoolctl.threadpool_limits(2, user_api="blas"):
        outer()
        assert met == [{1}] * 4
        assert threads() == {2}


def test_calls_of_several_threads_that_overlap_leave_all_as_it_was() -> None:
    """The first to begin ends first, while the second goes on in one thread."""
    first_is_in, second_is_in, first_is_out = Event(), Event(), Event()
    met = []

    @in_one_thread
    def first() -> None:
        first_is_in.set()
        second_is_in.wait(10)

    @in_one_thread
    def second() -> None:
        second_is_in.set()
        first_is_out.wait(10)
        met.append(threads())

    def afterwards() -> None:
        met.append(threads())

    with threadpoolctl.threadpool_limits(2, user_api="blas"):
        one, two = Thread(target=first), Thread(target=second)
        one.start()
        first_is_in.wait(10)
        two.start()
        one.join()
        first_is_out.set()
        two.join()
        three = Thread(target=afterwards)
        three.start()
        three.join()
        assert met == [{1}, {2}]
        assert threads() == {2}


def test_factors_and_widths_of_a_refinement_are_found_in_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    met = dict[str, set[int]]()

    def record(module: object, name: str) -> None:
        real = getattr(module, name)

        def called(*args: object, **named: object) -> object:
            met.setdefault(name, set()).update(threads())
            return real(*args, **named)

        monkeypatch.setattr(module, name, called)

    record(gauss_newton, "factored")
    record(summary, "joint_sigmas")
    record(uncertainty, "evidence_of")
    problem, _ = make_problem(frames=6)
    config = RefinementConfig(**{f"{name}_iterations": 1 for name in ("root_fitting", "smpl_fitting", "environmental", "final")})
    with threadpoolctl.threadpool_limits(2, user_api="blas"):
        Stage5Refiner(config, trainer={"enable_progress_bar": False}).refine(RefinementInput(problem))
        assert threads() == {2}
    assert met == {"factored": {1}, "joint_sigmas": {1}, "evidence_of": {1}}
