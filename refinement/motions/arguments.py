"""What the commands on files of motions are told alike on the command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pose_priors.configs.cli import Parser
from pose_priors.configs.slurm import LAUNCHERS
from pose_priors.refinement.motions.files.read import SUFFIXES


def motions_parser(about: str, output: str, prior: str, verb: str, keys: Callable[[], str]) -> Parser:
    """A parser of files, their output, a prior and settings.

    Args:
        about: what the command does.
        output: what comes into the folder.
        prior: what the prior is for.
        verb: what jobs do.
        keys: makes what the help says of settings.
    """
    parser = Parser(description=about, about=keys)
    parser.add_argument("path", type=Path, help=f"a file ({', '.join(s[1:] for s in SUFFIXES)}), or a folder of such files")
    parser.add_argument("--output", type=Path, required=True, help=f"a folder: {output}")
    parser.add_argument("--prior", metavar="CKPT", help=f"prior.motion: a motion_flow, {prior}")
    parser.add_argument("--config", default="motions", help="the name of a YAML that comes with pose-priors, or a path")
    parser.add_argument("--override", nargs="*", default=[], action="extend", metavar="KEY=VALUE", help="fps=30 up_axis=y ...")
    parser.add_argument("--launcher", choices=LAUNCHERS, help=f"{verb} in jobs of a Slurm cluster, or in processes beside this one")
    return parser
