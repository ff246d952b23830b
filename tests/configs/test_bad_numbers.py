"""Numbers that nothing can be measured with are refused before anything is made."""

from __future__ import annotations

import argparse
import importlib

import pytest

from pose_priors.configs.base import UserError
from pose_priors.configs.cli import finite

CASES = {
    "any_rotation": ("--checkpoints a", "--rotations 0", "--threads 0"),
    "energy_speed": ("--output out", "--poses 0", "--repeats 0", "--poses 1e3", "--poses 99999999999999"),
    "motions.__main__": ("--data a --output out", "--clips 0", "--seed -1", "--every 0"),
    "refinement_ablation": ("", "--seeds 0"),
    "refinement_stress.__main__": ("", "--jobs 0", "--seeds 0 -1", "--seeds x"),
    "refinement_symmetries": ("", "--seed -1"),
    "rows": ("--output out", "--rows 0", "--turns 0", "--batch-size -1"),
    "speed": ("--output out", "--threads 0", "--repeats 0", "--poses 0"),
}


@pytest.mark.parametrize(
    ("benchmark", "given", "number"), [(name, given, one) for name, (given, *numbers) in CASES.items() for one in numbers]
)
def test_numbers_of_nothing_are_refused(benchmark: str, given: str, number: str) -> None:
    main = importlib.import_module(f"pose_priors.benchmarks.{benchmark}").main
    with pytest.raises(UserError, match=f"argument {number.split()[0]}: ") as caught:
        main([*given.split(), *number.split()])
    assert "\n" not in str(caught.value)
    assert f": {number.split()[-1]} is not a whole number of at least " in str(caught.value)


@pytest.mark.parametrize("number", ["nan", "inf", "-1", "x", "1e400"])
@pytest.mark.parametrize(("benchmark", "given"), [("priors.__main__", "--output out --split-radius"), ("same_results", "a b --tolerance")])
def test_sizes_of_nothing_are_refused(benchmark: str, given: str, number: str) -> None:
    main = importlib.import_module(f"pose_priors.benchmarks.{benchmark}").main
    with pytest.raises(UserError, match=f"{number} is not a finite number (above|of at least) 0"):
        main(f"{given}={number}".split())
    assert finite(zero=True)("0") == 0
    with pytest.raises(argparse.ArgumentTypeError, match="0 is not a finite number above 0"):
        finite(zero=False)("0")
