"""Names of runs, and what is flattened for loggers."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from pytorch_lightning.utilities.rank_zero import rank_zero_module

from pose_priors.configs.base import flattened
from pose_priors.configs.cli import quiet_lightning
from pose_priors.configs.loggers import make_logger, run_label


@pytest.mark.parametrize(
    ("overrides", "label"),
    [
        ([], ""),
        (["training.learning_rate=1e-4", "model.hidden=256"], "learning_rate=1e-4 hidden=256"),
        (["model.hidden=1", "model.hidden=2"], "hidden=2"),
        (["data.path=a", "prior.path=b"], "data.path=a prior.path=b"),
        (["data.path=/data/AMASS/*", "logging.logger=csv", "trainer.devices=2", "slurm.mem_gb=8"], "path=data_AMASS"),
        (["a.b=\x1b[31m$(touch x)"], "b=31m_touch_x"),
    ],
)
def test_a_run_is_named_by_what_it_does(overrides: list[str], label: str) -> None:
    assert run_label(overrides) == label


def test_a_name_of_many_overrides_is_that_of_a_folder() -> None:
    assert len(run_label([f"a.key_{i}={i}" for i in range(100)])) <= 200


def test_runs_are_numbered_whatever_they_are_called(tmp_path: Path) -> None:
    versions = []
    for overrides in ([], ["model.K=2"], ["model.K=3"], []):
        logger = make_logger("csv", str(tmp_path), "run", overrides)
        versions.append(Path(str(logger.log_dir)).name)
        (tmp_path / "run" / versions[-1]).mkdir(parents=True)
    assert versions == ["version_0", "version_1-K=2", "version_2-K=3", "version_3"]


def test_lightning_does_not_advertise_where_it_is_imported_later() -> None:
    quiet_lightning()
    logging.getLogger("pytorch_lightning").setLevel(logging.INFO)  # as its import does
    assert not rank_zero_module.log.isEnabledFor(logging.INFO)
    quiet_lightning()


def test_leaves_have_dotted_keys() -> None:
    assert flattened({"a": {"b": 1, "c": {"d": [2]}}, "e": None}) == {"a.b": 1, "a.c.d": [2], "e": None}
