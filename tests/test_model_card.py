"""The card of a checkpoint: written beside it, printed by a command, true in what it says."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import pytest
import torch

import train
from pose_priors import load_prior
from pose_priors.configs.base import UserError
from pose_priors.priors.evaluation import card
from pose_priors.priors.evaluation.scores import energies_of


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run's checkpoints and card."""
    folder = tmp_path_factory.mktemp("card")
    overrides = ["data.path=built_in", "data.num_poses=400", "data.licence=CC0", "training.max_epochs=2", "logging.logger=csv"]
    overrides += [f"logging.log_dir={folder / 'logs'}", f"logging.checkpoint_dir={folder / 'run'}", "trainer.accelerator=cpu"]
    train.main(["--config", "gaussian_prior", "--override", *overrides])
    return folder / "run"


def test_a_run_leaves_the_card_that_the_command_prints(described: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written = (described / "best.md").read_text()
    card.main([str(described / "best.ckpt")])
    assert capsys.readouterr().out == written
    prior, content = load_prior(described / "best.ckpt"), torch.load(described / "best.ckpt", weights_only=True)
    for words in (
        "# Gaussian",
        f"| joints ({prior.num_joints}) | {', '.join(prior.joints)} |",
        f"| parameters | {sum(p.numel() for p in prior.parameters()):,} |",
        "| trained on | synthetic data of the built-in source |",
        "| licence of the data | CC0 |",
        f"`{content['prior']['data_fingerprint']}`",
        f"| least validation NLL | {content['best_scores']['nll']:.3f} nats",
        "train.py --config gaussian_prior --override data.path=built_in",
        "`energy` is `-log_prob`",
        "its data are synthetic",
    ):
        assert words in written, words


def test_data_that_nobody_recorded_need_no_licence(described: Path, tmp_path: Path) -> None:
    content = torch.load(described / "best.ckpt", weights_only=True)
    for path, licence in (("built_in", "none is needed"), ("poses.npz", "not stated: `data.licence` states it")):
        content["prior"]["experiment"]["data"] |= {"path": path, "licence": None}
        torch.save(content, tmp_path / "unstated.ckpt")
        assert f"| licence of the data | {licence}" in card.card(tmp_path / "unstated.ckpt")


def test_the_nll_of_the_card_is_that_of_the_validation_poses(described: Path) -> None:
    from pose_priors.configs.schema import ExperimentConfig

    content = torch.load(described / "best.ckpt", weights_only=True)
    data = ExperimentConfig.model_validate(content["prior"]["experiment"]).build_data()
    data.setup()
    found = energies_of(load_prior(described / "best.ckpt"), data.validation_sample(100_000)).mean()
    assert float(found) == pytest.approx(content["best_scores"]["nll"], abs=1e-3)


def test_a_new_run_keeps_the_earlier_card_aside(described: Path, tmp_path: Path) -> None:
    from pose_priors.priors.training.folder import CheckpointFolder

    shutil.copytree(described, tmp_path / "run")
    CheckpointFolder(tmp_path / "run", "another", None).prepare()
    assert not (tmp_path / "run" / "best.md").exists()
    (kept,) = (tmp_path / "run" / "earlier").iterdir()
    assert {path.name for path in kept.iterdir()} >= {"best.ckpt", "best.md"}


FOREIGN = {"text": b"no checkpoint", "pickle": pickle.dumps({"a": 1}), "object": pickle.dumps(Path("x"), 2)}


@pytest.mark.parametrize("kind", FOREIGN)
@pytest.mark.filterwarnings("error")
def test_what_is_no_checkpoint_is_refused_in_one_line_without_advice_to_run_it(kind: str, tmp_path: Path) -> None:
    (tmp_path / "a.ckpt").write_bytes(FOREIGN[kind])
    with pytest.raises(UserError, match=r"not a checkpoint|without a prior") as refused:
        card.main([str(tmp_path / "a.ckpt")])
    assert "weights_only" not in str(refused.value)
