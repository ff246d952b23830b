"""The console script `pose-priors`: every script and command of the project under one name, from any folder."""

from __future__ import annotations

import difflib
import gc
import importlib
import os
import sys
from collections.abc import Sequence

import pose_priors
from pose_priors.configs.base import UserError
from pose_priors.configs.cli import imports_done, run, set_up_console

_COMMANDS = {
    "train": "pose_priors.train",
    "evaluate": "pose_priors.evaluate",
    "refine": "pose_priors.refine",
    "pipeline": "pose_priors.pipeline",
    "clean": "pose_priors.clean",
    "score": "pose_priors.score",
    "describe": "pose_priors.priors.evaluation.card",
    "export-model": "pose_priors.priors.exporting.__main__",
    "cache": "pose_priors.datamodules.cache.__main__",
    "body": "pose_priors.body.__main__",
    "record": "pose_priors.refinement.show.record",
    "review": "pose_priors.refinement.show.review",
    "export": "pose_priors.refinement.export.__main__",
    "instances": "pose_priors.refinement.instances.__main__",
}
_BENCHMARKS = {
    "priors": "pose_priors.benchmarks.priors.__main__",
    "speed": "pose_priors.benchmarks.speed",
    "refinement_ablation": "pose_priors.benchmarks.refinement_ablation",
    "refinement_stress": "pose_priors.benchmarks.refinement_stress.__main__",
    "motion_faults": "pose_priors.benchmarks.motions.__main__",
    "motion_scale": "pose_priors.benchmarks.motion_scale",
    "many_sequences": "pose_priors.benchmarks.many_sequences",
    "same_results": "pose_priors.benchmarks.same_results",
    "any_rotation": "pose_priors.benchmarks.any_rotation",
    "reproduce": "pose_priors.benchmarks.reproduce.__main__",
}


def main() -> None:
    """Runs `pose-priors COMMAND ...`, or `pose-priors benchmark NAME ...`, as the script of that name does."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch is imported: see train.py
    run(lambda: _dispatch(sys.argv[1:]))


def _dispatch(arguments: Sequence[str]) -> None:
    name, *rest = arguments or ["--help"]
    if name in ("-V", "--version"):
        print(f"pose-priors {pose_priors.__version__}")
        return
    if name in ("-h", "--help"):
        print(f"usage: pose-priors COMMAND ...\n\ncommands: {', '.join(_COMMANDS)}, benchmark\n\neach says more with --help")
        return
    commands, words = _COMMANDS, name
    if name == "benchmark":
        if not rest or rest[0] in ("-h", "--help"):
            print(f"usage: pose-priors benchmark NAME ...\n\nbenchmarks: {', '.join(_BENCHMARKS)}")
            return
        name, *rest = rest
        commands, words = _BENCHMARKS, f"benchmark {name}"
    if name not in commands:
        kind, known = ("command", [*commands, "benchmark"]) if commands is _COMMANDS else ("benchmark", [*commands])
        near = difflib.get_close_matches(name, known, 1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise UserError(f"pose-priors {words}: no such {kind}; {hint}there are: {', '.join(known)}")
    sys.argv = [f"pose-priors {words}", *rest]  # what usage and --help call the program
    gc.disable()  # as in the scripts, see train.py
    script = importlib.import_module(commands[name])
    imports_done()
    set_up_console()  # once more: Lightning sets its own level when it is imported
    script.main(rest)


if __name__ == "__main__":
    main()
