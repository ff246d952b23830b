"""What a checkpoint is, in a page: the model card that lies beside it, and `pose-priors describe CKPT`."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pose_priors.configs.base import UserError
from pose_priors.configs.cli import Parser, run
from pose_priors.configs.writing import write_text
from pose_priors.priors.base import DensityPrior, Prior, TrainablePrior
from pose_priors.priors.checkpoint import load_prior, read_checkpoint
from pose_priors.priors.description import Trained, in_words
from pose_priors.priors.ensemble import Ensemble
from pose_priors.priors.evaluation.scores import bits_per_dof
from pose_priors.priors.weights.hub import is_address

_LEFT_OUT = {"kind", "member", "num_members"}
_MEASURES = {
    True: "`energy` is `-log_prob`, in nats against normalised Haar measure: comparable between priors of the same joints",
    False: "`energy` is not `-log_prob`: compare it under this prior only, and `log_prob`, where there is one, between priors",
}


def card(path: str | Path, allow: Sequence[str] = (), called: str | None = None) -> str:
    """The model card of a checkpoint in Markdown (Mitchell et al., "Model cards for model reporting", FAT* 2019).

    Args:
        path: a checkpoint, see `load_prior`.
        allow: packages that may be imported, see `load_prior`.
        called: by what it is loaded; the name of the file if not given.
    Raises:
        UserError: as `load_prior`.
    """
    prior, content = load_prior(path, allow=allow), read_checkpoint(path)
    try:
        ended = Trained.of(content)
    except ValidationError as error:
        raise UserError(f"{path}: does not say how its training ended ({in_words(error)}); train it again") from error
    entry, stored = content["prior"], content.get("stored", "as they are")
    experiment = entry["experiment"]
    lines = [
        f"# {type(prior).__name__}",
        "",
        f"A prior over {'poses' if isinstance(prior, Prior) else 'motions'}.",
        "",
        "| | |",
        "|---|---|",
    ]
    lines += [f"| {name} | {value} |" for name, value in _rows(prior, experiment, entry, ended, stored)]
    lines += [
        "",
        "## Use",
        "",
        "```python",
        "from pose_priors import load_prior",
        "",
        f'prior = load_prior("{called or _called(str(path))}")',
        "```",
        "",
    ]
    if isinstance(prior, DensityPrior):
        lines += [_MEASURES[prior.energy_is_nll] + ".", ""]
    lines += ["## Limits", "", *(f"- {limit}" for limit in _limits(prior, experiment)), ""]
    return "\n".join(lines)


def _called(source: str) -> str:
    """The name of a file or a folder; an address as it is."""
    return source if is_address(source) else Path(source).name


def _rows(prior: TrainablePrior, experiment: dict[str, Any], entry: dict[str, Any], ended: Trained, stored: str) -> list[tuple[str, str]]:
    model, data, training = (experiment.get(name) or {} for name in ("model", "data", "training"))
    scores = ended.best_scores
    rows = [
        ("kind", f"`{model.get('kind')}`: {_settings(prior, model)}"),
        ("parameters", f"{sum(parameter.numel() for parameter in prior.parameters()):,}"),
        ("trained on", prior.trained_on or "not said"),
        ("licence of the data", data.get("licence") or _licence_unstated(prior)),
        ("fingerprint of the data", f"`{entry.get('data_fingerprint')}`"),
        (
            "trained",
            f"{ended.global_step:,} steps of {training.get('batch_size')}, {_passes(ended)}",
        ),
    ]
    for change in ended.history:
        told = ", ".join(f"`{key}` {values[0]} -> {values[-1]}" for key, values in change.changed.items() if values)
        rows.append((f"changed at step {change.step:,}", told))
    if isinstance(prior, Prior):
        rows.insert(1, (f"joints ({prior.num_joints})", ", ".join(prior.joints)))
    if "nll" in scores:
        per_dof = f", {bits_per_dof(scores['nll'], prior.num_joints):.3f} bits per degree of freedom" if isinstance(prior, Prior) else ""
        rows.append(("least validation NLL", f"{scores['nll']:.3f} nats{per_dof}"))
    if "loss" in scores:
        rows.append(("least validation loss", f"{scores['loss']:.4g}"))
    if stored != "as they are":
        rows.append(("parameters stored as", f"{stored}, half of their bits"))
    if ended.command:
        rows.append(("command", f"`{ended.command}`"))
    return [*rows, ("written by", f"pose-priors {entry.get('code_version')}, checkpoint format {entry.get('format')}")]


def _passes(ended: Trained) -> str:
    """How often all rows were seen. Where a pass was cut into rounds, Lightning's epochs are these."""
    steps, batches, of_pass = (ended.schedule.get(key) for key in ("steps_an_epoch", "batches_an_epoch", "batches_a_pass"))
    if not steps or not batches or not of_pass or batches == of_pass:
        return f"{ended.epoch + 1} epochs"
    return f"{ended.global_step / steps * batches / of_pass:.3g} passes over the data"


def _settings(prior: TrainablePrior, model: dict[str, Any]) -> str:
    """In words: members by their kinds, since all of their options would be a page."""
    told = dict(model)
    if isinstance(prior, Ensemble):
        kinds = Counter(member.kind for member in prior.config.of_members)
        told["members"] = " + ".join(f"{number} x {kind}" if number > 1 else kind for kind, number in kinds.items())
    return ", ".join(f"{name} {value}" for name, value in told.items() if name not in _LEFT_OUT) or "no options"


def _licence_unstated(prior: TrainablePrior) -> str:
    if prior.trained_on.startswith("synthetic"):
        return "none is needed: they are drawn by this project, from no recording"
    return "not stated: `data.licence` states it"


def _limits(prior: TrainablePrior, experiment: dict[str, Any]) -> list[str]:
    limits = ["it knows what its data hold: people, cameras, actions and errors that these lack are improbable under it"]
    if prior.trained_on.startswith("synthetic"):
        limits.append("its data are synthetic: a first look at the model, no model of people")
    if isinstance(prior, Prior):
        left_out = 55 - prior.num_joints
        limits.append(f"{left_out} of SMPL-X's 55 joints carry no density: they are ignored when scored and at their default when drawn")
    if (experiment.get("data") or {}).get("include_root"):
        limits.append("the orientation of the root is learnt: poses in a world with another axis up are improbable")
    return limits


def write_card(checkpoint: Path, allow: Sequence[str] = ()) -> Path:
    """Writes the card of a checkpoint beside it, under its name with the ending `.md`, whole or not at all."""
    path = checkpoint.with_suffix(".md")
    write_text(path, card(checkpoint, allow))
    return path


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the cards of checkpoints."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", nargs="+", help="written by train.py, or a folder of export-model --format safetensors")
    parser.add_argument("--allow", nargs="+", default=[], metavar="PACKAGE", help="may be imported where a checkpoint names module:Class")
    options = parser.parse_args(arguments)
    print("\n".join(card(path, options.allow) for path in options.checkpoint), end="")


if __name__ == "__main__":
    run(main)
