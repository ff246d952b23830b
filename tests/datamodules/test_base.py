from __future__ import annotations

import logging
import types
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from pydantic import ValidationError

from pose_priors.body.rotations import mirror_pose
from pose_priors.configs.base import UserError
from pose_priors.datamodules import built_in, splits
from pose_priors.datamodules.base import DataConfig, PoseDataModule, load_poses

Rows = Callable[..., np.ndarray]


def ready(batch_size: int = 16, seed: int = 0, **data: object) -> PoseDataModule:
    module = PoseDataModule(DataConfig(**data), batch_size, seed)
    module.prepare_data()
    module.setup()
    return module


@pytest.fixture
def rows_file(tmp_path: Path, random_rows: Rows) -> Path:
    rows = random_rows(500, 63)
    rows[:480, 27:33] = 0  # feet
    np.save(tmp_path / "rows.npy", rows)
    return tmp_path / "rows.npy"


def test_one_path_gives_three_splits_and_the_joints(rows_file: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        module = ready(path=str(rows_file))
    assert [p.shape for p in (module.train_poses, module.val_poses, module.test_poses)] == [(400, 55, 3), (50, 55, 3), (50, 55, 3)]
    assert module.joint_indices == tuple(j for j in range(1, 22) if j not in (10, 11))
    assert "96%" in module.left_out["left_foot"]
    assert module.left_out["pelvis"] == "data.include_root is false"
    assert module.summary()["poses"] == 500
    assert "left_foot" in caplog.text
    assert len(module.fingerprint) == 16
    assert int(module.fingerprint, 16)
    everything = np.concatenate([module.train_poses, module.val_poses, module.test_poses])
    assert len(np.unique(everything, axis=0)) == 500


def test_the_same_content_and_seed_give_the_same_fingerprint(rows_file: Path) -> None:
    first = ready(path=str(rows_file)).fingerprint
    assert ready(path=str(rows_file)).fingerprint == first
    assert ready(path=str(rows_file), seed=1).fingerprint != first
    rows = np.load(rows_file)
    rows[7, 3] += 1e-3
    np.save(rows_file, rows)
    assert ready(path=str(rows_file)).fingerprint != first


def test_given_splits_are_used_as_they_are_and_training_gives_way(tmp_path: Path, random_rows: Rows) -> None:
    train, val, test = random_rows(300, 63), random_rows(40, 63), random_rows(30, 63)
    train[5], train[6], val[7], val[9] = val[3], test[4], test[8], np.nan
    for name, rows in {"train": train, "val": val, "test": test}.items():
        np.save(tmp_path / f"{name}.npy", rows)
    module = ready(**{name: str(tmp_path / f"{name}.npy") for name in ("train", "val", "test")})
    assert (len(module.train_poses), len(module.val_poses), len(module.test_poses)) == (298, 38, 30)
    np.testing.assert_array_equal(np.asarray(module.test_poses)[:, 1:22].reshape(30, 63), test.astype(np.float32))
    summary = module.summary()
    assert (summary["duplicates_across_splits"], summary["nan_rows"], summary["train"]) == (3, 1, 298)


@pytest.mark.parametrize("pool", ["path", "train"])
def test_what_is_not_given_is_cut_out_of_the_pool(tmp_path: Path, rows_file: Path, random_rows: Rows, pool: str) -> None:
    np.save(tmp_path / "test.npy", random_rows(30, 63))
    module = ready(**{pool: str(rows_file)}, test=str(tmp_path / "test.npy"), val_fraction=0.2)
    assert (len(module.train_poses), len(module.val_poses), len(module.test_poses)) == (400, 100, 30)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"path": "a", "train": "b"}, "give one of them"),
        ({"val": "a"}, "without path or train"),
        ({"val_fraction": 0.5, "test_fraction": 0.5}, "below 1"),
        ({"val_fraction": 0.0}, "greater than 0"),
        ({"hand_convention": "mean"}, "relative_to_mean"),
        ({"paths": "a"}, "Extra inputs"),
    ],
)
def test_contradictions_are_refused(data: dict, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        DataConfig(**data)


def test_an_empty_split_is_an_error(tmp_path: Path, random_rows: Rows, rows_file: Path) -> None:
    np.save(tmp_path / "few.npy", random_rows(3, 63))
    with pytest.raises(UserError, match=r"the val split is empty: .*few\.npy' gives 3 distinct poses"):
        ready(path=str(tmp_path / "few.npy"))
    np.save(tmp_path / "nan.npy", np.full((3, 63), np.nan))
    with pytest.raises(UserError, match=r"the test split is empty: .*nan\.npy' gives 0"):
        ready(path=str(rows_file), test=str(tmp_path / "nan.npy"))


def test_split_radius_keeps_twins_together(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    rows = np.repeat(generator.normal(0, 0.3, (200, 63)), 2, axis=0) + generator.normal(0, 0.005, (400, 63))
    np.save(tmp_path / "twins.npy", rows)
    splits = [np.asarray(view).reshape(len(view), -1) for view in _views(ready(path=str(tmp_path / "twins.npy"), split_radius=0.2))]
    assert [len(split) for split in splits] == [320, 40, 40]
    distances = [torch.cdist(torch.from_numpy(a), torch.from_numpy(b)).min() for a, b in zip(splits, [*splits[1:], splits[0]], strict=True)]
    assert min(distances) > 0.2


def _views(module: PoseDataModule) -> tuple:
    return module.train_poses, module.val_poses, module.test_poses


def test_split_radius_on_too_much_data_is_said(rows_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(splits, "MAX_RADIUS_ROWS", 100)
    with pytest.raises(UserError, match=r"data\.split_radius"):
        ready(path=str(rows_file), split_radius=0.2)


def test_the_training_sample_is_deterministic_and_mirrored_on_demand(rows_file: Path) -> None:
    module = ready(path=str(rows_file))
    assert torch.equal(module.training_sample(), torch.from_numpy(np.asarray(module.train_poses)))
    assert torch.equal(module.training_sample(50), ready(path=str(rows_file)).training_sample(50))
    assert len(torch.unique(module.training_sample(50), dim=0)) == 50
    sample = ready(path=str(rows_file), mirror=True).training_sample(60)
    assert sample.shape == (60, 55, 3)
    assert torch.equal(sample[30:], mirror_pose(sample[:30]))


def test_loaders(rows_file: Path) -> None:
    module = ready(path=str(rows_file), batch_size=64)
    batches = list(module.train_dataloader())
    assert [tuple(batch.shape) for batch in batches] == [(64, 55, 3)] * 6
    assert batches[0].dtype == torch.float32
    assert torch.equal(torch.cat(list(module.val_dataloader())), torch.from_numpy(np.asarray(module.val_poses)))
    assert torch.equal(torch.cat(list(module.test_dataloader())), torch.from_numpy(np.asarray(module.test_poses)))


def test_ranks_come_from_the_trainer(rows_file: Path) -> None:
    def trainer(rank: int, world_size: int, device: str = "cpu") -> types.SimpleNamespace:
        strategy = types.SimpleNamespace(root_device=torch.device(device))
        return types.SimpleNamespace(global_rank=rank, world_size=world_size, strategy=strategy)

    seen = []
    for rank in range(2):
        module = ready(path=str(rows_file), batch_size=50)
        module.trainer = trainer(rank, 2)
        assert not module.train_dataloader().pinned
        seen.append(torch.cat(list(module.train_dataloader())))
    assert [len(rows) for rows in seen] == [200, 200]
    assert len(torch.unique(torch.cat(seen), dim=0)) == 400
    module.trainer = trainer(0, 2, "cuda:0")
    assert module.train_dataloader().pinned
    module.trainer = trainer(0, 51)
    with pytest.raises(UserError, match="val split has 50 poses for 51 processes"):
        module.val_dataloader()


def test_without_paths_the_built_in_source_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    def synthetic_poses(num_poses: int, seed: int) -> torch.Tensor:
        return 0.3 * torch.randn(num_poses, 55, 3, generator=torch.Generator().manual_seed(seed))

    monkeypatch.setattr(built_in, "synthetic_poses", synthetic_poses)
    module = ready(num_poses=200, include_root=True)
    assert (len(module.train_poses), len(module.val_poses), len(module.test_poses)) == (160, 20, 20)
    assert module.joint_indices == tuple(range(55))
    rows = np.concatenate([view[:] for view in (module.train_poses, module.val_poses, module.test_poses)])
    np.testing.assert_array_equal(np.sort(rows, 0), np.sort(synthetic_poses(200, 0).numpy(), 0))
    assert module.fingerprint == ready(num_poses=200, include_root=True).fingerprint


def test_load_poses_gives_all_of_a_folder_once(tmp_path: Path, random_rows: Rows) -> None:
    rows = random_rows(30, 165)
    (tmp_path / "data").mkdir()
    np.save(tmp_path / "data" / "a.npy", rows[:20])
    np.save(tmp_path / "data" / "b.npy", rows[10:])
    poses = load_poses(str(tmp_path / "data"), DataConfig(cache_dir=str(tmp_path / "cache")))
    np.testing.assert_array_equal(poses, rows.astype(np.float32).reshape(30, 55, 3))
    np.testing.assert_array_equal(poses[3], np.asarray(poses)[3])
    np.testing.assert_array_equal(poses[5:9], np.asarray(poses)[5:9])
    assert (tmp_path / "cache").is_dir()
    np.save(tmp_path / "nan.npy", np.full((2, 63), np.nan))
    with pytest.raises(UserError, match="holds no poses"):
        load_poses(str(tmp_path / "nan.npy"))


@pytest.mark.filterwarnings("ignore")
def test_a_trainer_runs_on_it(rows_file: Path, tmp_path: Path) -> None:
    class Mean(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.mean = torch.nn.Parameter(torch.zeros(55, 3))

        def training_step(self, batch: torch.Tensor, index: int) -> torch.Tensor:
            return (batch - self.mean).square().mean()

        def validation_step(self, batch: torch.Tensor, index: int) -> None:
            self.log("val", (batch - self.mean).square().mean())

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    module = PoseDataModule(DataConfig(path=str(rows_file)), 100, 0)
    trainer = pl.Trainer(
        max_epochs=2, accelerator="cpu", default_root_dir=tmp_path, logger=False, enable_progress_bar=False, enable_checkpointing=False
    )
    trainer.fit(Mean(), datamodule=module)
    assert trainer.global_step == 8
    assert np.isfinite(trainer.callback_metrics["val"])


def test_built_in_poses_are_found_again_though_a_last_bit_differs(monkeypatch: pytest.MonkeyPatch) -> None:
    import pose_priors.datamodules.synthetic

    poses = torch.rand(60, 55, 3, generator=torch.Generator().manual_seed(0))
    fingerprints = []
    for last_bits in (0.0, 1e-7):
        monkeypatch.setattr(pose_priors.datamodules.synthetic, "synthetic_poses", lambda num, seed, last_bits=last_bits: poses + last_bits)
        fingerprints += [prepared(seed).fingerprint for seed in (0, 1)]
    assert fingerprints[:2] == fingerprints[2:]
    assert fingerprints[0] != fingerprints[1]


def prepared(seed: int) -> PoseDataModule:
    module = PoseDataModule(DataConfig(num_poses=60), batch_size=8, seed=seed)
    module.setup()
    return module
