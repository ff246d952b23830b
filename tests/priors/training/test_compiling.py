"""When layers are compiled."""

from __future__ import annotations

import torch

from pose_priors.priors.training.compiling import compiles


def test_it_is_compiled_where_it_pays() -> None:
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    assert compiles("auto", 20_000_000, cpu)
    assert not compiles("auto", 400_000, cpu)
    assert not compiles("auto", 20_000_000, gpu)
    assert compiles(True, 1, gpu)
    assert not compiles(False, 10**9, cpu)
