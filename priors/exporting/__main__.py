"""A prior as programs that need torch alone, or onnxruntime alone: `pose-priors export-model CKPT --format torch`. Or its weights for
`load_prior`, without pickles: `--format safetensors`."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pose_priors import __version__
from pose_priors.body.skeleton import JOINT_NAMES
from pose_priors.configs.base import UserError
from pose_priors.configs.cli import Parser, run
from pose_priors.configs.exchange import check_writable, written_beside
from pose_priors.priors.base import DensityPrior, Prior
from pose_priors.priors.checkpoint import load_prior, read_checkpoint
from pose_priors.priors.evaluation.card import card
from pose_priors.priors.exporting.formats import ENDINGS, write_program
from pose_priors.priors.exporting.programs import Program, programs_of
from pose_priors.priors.weights.folder import CARD, CONFIG, HALVES, WEIGHTS, Stored, write_folder

log = logging.getLogger("export-model")

FORMAT = 1
"""Version of what the metadata hold."""
_WEIGHTS = "safetensors"


def export_weights(checkpoint: str | Path, output: Path, stored: Stored = "as they are", allow: Sequence[str] = ()) -> list[Path]:
    """Writes a prior of any kind into a folder that `load_prior` reads, and Hugging Face's hub shows; returns the paths.

    Args:
        checkpoint: see `load_prior`; none of HuMoR's.
        stored: what the parameters of networks are stored in.
        allow: packages that may be imported, see `load_prior`.
    Raises:
        UserError: as `read_checkpoint` and `write_folder`.
    """
    content, prior = read_checkpoint(checkpoint), load_prior(checkpoint, allow=allow)
    if content.get("stored", "as they are") not in ("as they are", stored):
        raise UserError(
            f"{checkpoint}: its parameters are stored in {content['stored']} already; export its checkpoint, or give --dtype "
            f"{content['stored']}"
        )
    with written_beside(output) as aside:
        write_folder(prior, content, aside, stored)
        text = card(aside, allow, output.resolve().name)  # which reads it back
        (aside / CARD).write_text(f"---\nlibrary_name: pose-priors\n---\n\n{text}")
    return [output / name for name in (CONFIG, WEIGHTS, CARD)]


def export_model(
    checkpoint: str | Path, kind: str, output: Path, stds: Sequence[float] | None = None, allow: Sequence[str] = ()
) -> list[Path]:
    """Writes the programs of a prior, and its card, into a folder; returns the paths.

    Args:
        checkpoint: see `load_prior`.
        kind: `torch` or `onnx`.
        stds: see `programs_of`.
        allow: packages that may be imported, see `load_prior`.
    Raises:
        UserError: as `load_prior`; if it is no prior over poses; or if something of it cannot be exported.
    """
    prior = load_prior(checkpoint, allow=allow)
    if not isinstance(prior, Prior):
        raise UserError(f"{checkpoint}: a {type(prior).__name__}, a prior over motions; export-model takes priors over poses")
    found, missing = programs_of(prior, stds)
    entry, text = read_checkpoint(checkpoint)["prior"], card(checkpoint, allow)
    with written_beside(output) as aside:
        for program in found:
            write_program(program, aside / f"{program.name}{ENDINGS[kind]}", kind, _metadata(prior, program, entry, text))
        (aside / "card.md").write_text(text)
    for line in missing:
        log.info("no %s", line)
    return [output / f"{program.name}{ENDINGS[kind]}" for program in found] + [output / "card.md"]


def _metadata(prior: Prior, program: Program, entry: dict[str, Any], text: str) -> dict[str, Any]:
    """What a file says of itself."""
    return {
        "format": FORMAT,
        "code_version": __version__,
        "kind": entry["experiment"]["model"]["kind"],
        "program": program.name,
        "says": program.says,
        "input": program.input,
        "outputs": list(program.outputs),
        "std": program.std,
        "pose": "(N, 55, 3) rotation vectors in radians, joints in the order of joint_order; angles of any size",
        "joint_order": list(JOINT_NAMES),
        "joints": list(prior.joints),
        "energy_is_nll": isinstance(prior, DensityPrior) and prior.energy_is_nll,
        "energy": "nats; where energy_is_nll, -log density against normalised Haar measure over joints",
        "trained_on": prior.trained_on,
        "data_fingerprint": entry["data_fingerprint"],
        "card": text,
    }


def main(arguments: Sequence[str] | None = None) -> list[Path]:
    """Writes the programs of a checkpoint."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", help="written by train.py, or what else load_prior takes")
    parser.add_argument(
        "--format",
        required=True,
        choices=[*ENDINGS, _WEIGHTS],
        help=f"torch: .pt2 for torch.export.load; onnx: for onnxruntime; {_WEIGHTS}: weights for load_prior, without pickles",
    )
    parser.add_argument("--output", required=True, type=Path, help="folder for the programs or the weights, and the card")
    parser.add_argument("--std", nargs="+", type=float, metavar="RADIANS", help="noise that denoise programs are for; 0.1 by default")
    parser.add_argument("--dtype", choices=list(HALVES), help=f"{_WEIGHTS}: store the parameters in half of their bits")
    parser.add_argument("--allow", nargs="+", default=[], metavar="PACKAGE", help="may be imported where a checkpoint names module:Class")
    options = parser.parse_args(arguments)
    weights = options.format == _WEIGHTS
    if given := next((name for name in ("std",) * weights + ("dtype",) * (not weights) if getattr(options, name) is not None), None):
        raise UserError(f"--{given} says nothing of --format {options.format}; leave it out")
    check_writable(options.output)
    if weights:
        written = export_weights(options.checkpoint, options.output, options.dtype or "as they are", options.allow)
    else:
        written = export_model(options.checkpoint, options.format, options.output, options.std, options.allow)
    for path in written:
        log.info("%s", path)
    return written


if __name__ == "__main__":
    run(main)
