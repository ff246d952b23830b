"""Work side by side in threads."""

from __future__ import annotations

from threading import Thread

import pytest
import torch

from pose_priors.configs.threads.blas import in_one_thread
from pose_priors.configs.threads.cores import side_by_side

pytestmark = pytest.mark.usefixtures("two_threads")


def test_what_is_done_side_by_side_is_as_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the order of what was given, with no gradient, in as many threads of torch as whoever asks has."""
    weight = torch.ones(2, requires_grad=True)

    def doubled(number: int) -> tuple[int, bool, int]:
        return 2 * number, (weight * number).requires_grad, torch.get_num_threads()

    @in_one_thread
    def of_all() -> list[tuple[int, bool, int]]:
        other = Thread(target=torch.set_num_threads, args=(2,))  # which threads that begin later would have
        other.start()
        other.join()
        return side_by_side(doubled, range(5))

    for cores in ({0, 1}, {0}):
        monkeypatch.setattr("os.sched_getaffinity", lambda _, cores=cores: cores)
        assert of_all() == [(2 * number, False, 1) for number in range(5)]


def test_threads_that_begin_later_have_as_many_as_before() -> None:
    met = list[int]()
    side_by_side(lambda number: number, range(4), 2)
    other = Thread(target=lambda: met.append(torch.get_num_threads()))
    other.start()
    other.join()
    assert met == [2]


def test_what_goes_wrong_side_by_side_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1})

    def odd(number: int) -> None:
        if number % 2:
            raise ArithmeticError(number)

    with pytest.raises(ArithmeticError, match="1"):
        side_by_side(odd, range(4))
