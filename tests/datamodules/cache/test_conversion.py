"""Files are converted chunk by chunk in threads: in order, as one by one, and no further than is asked for."""

from __future__ import annotations

import threading
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from pose_priors.body.rotations import canonicalize
from pose_priors.datamodules.cache import conversion
from pose_priors.datamodules.cache.conversion import Chunk, Conversion, Opened, Refused, convert, row_hashes
from pose_priors.datamodules.formats import PoseSource

Rows = Callable[..., np.ndarray]


@pytest.fixture
def files(tmp_path: Path, random_rows: Rows, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    monkeypatch.setattr(conversion, "_CHUNK_ROWS", 10)
    found = []
    for number in range(12):
        found.append(tmp_path / f"{number:02d}.npy")
        np.save(found[-1], np.zeros((3, 7)) if number % 5 == 4 else random_rows(7 * number, 63, seed=number))
    return found


def test_chunks_come_in_order_each_once(files: list[Path]) -> None:
    items = list(convert(files, Conversion()))
    kinds = "".join({Opened: "o", Refused: "r", Chunk: "c"}[type(item)] for item in items)
    chunks = ["o" + "c" * -(-7 * number // 10) for number in range(12)]
    chunks[4] = chunks[9] = "r"
    assert kinds == "".join(chunks)
    poses = np.concatenate([item.poses for item in items if isinstance(item, Chunk)])
    expected = np.concatenate([np.load(file) for number, file in enumerate(files) if number % 5 != 4])
    np.testing.assert_array_equal(poses[:, 1:22].reshape(-1, 63), expected.astype(np.float32))
    np.testing.assert_array_equal(np.concatenate([item.hashes for item in items if isinstance(item, Chunk)]), row_hashes(poses))


def test_who_stops_early_leaves_no_thread_and_no_file_opened_in_vain(files: list[Path], monkeypatch) -> None:
    opened = []
    monkeypatch.setattr(conversion, "PoseSource", lambda file, **options: opened.append(file) or PoseSource(file, **options))
    monkeypatch.setattr(conversion, "_MOST_THREADS", 1)
    items = convert(files * 10, Conversion())
    assert len(list(islice(items, 5))) == 5
    assert len(opened) < 12
    items.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("convert")]


def test_what_goes_wrong_in_a_thread_is_raised(files: list[Path], monkeypatch) -> None:
    monkeypatch.setattr(PoseSource, "read", lambda *_: (_ for _ in ()).throw(OSError(5, "Input/output error")))
    with pytest.raises(OSError, match="Input/output error"):
        list(convert(files, Conversion()))


def test_angles_near_pi_and_beyond_become_canonical_as_by_the_rotations_themselves(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    axes = generator.standard_normal((400, 21, 3))
    axes /= np.linalg.norm(axes, axis=-1, keepdims=True)
    angles = np.concatenate([np.pi + np.linspace(-1e-6, 1e-6, 100), generator.uniform(0, 20, 298), [0.0, 999.0]])
    rows = axes * angles[:, None, None]
    np.save(tmp_path / "a.npy", rows.reshape(400, 63))
    poses, *_ = PoseSource(tmp_path / "a.npy", hand_convention="absolute").read(np.arange(400))
    expected = canonicalize(canonicalize(torch.from_numpy(rows)).float())
    np.testing.assert_array_equal(poses[:, 1:22], expected.numpy())
    assert (torch.linalg.vector_norm(torch.from_numpy(poses), dim=-1) <= np.pi).all()


def test_a_file_without_rows_has_no_poses(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", poses=np.zeros((0, 156)), mocap_framerate=30.0)
    assert [type(item) for item in convert([tmp_path / "a.npz"], Conversion())] == [Opened]
    poses, *_ = PoseSource(tmp_path / "a.npz", hand_convention="absolute").read(np.arange(0))
    assert poses.shape == (0, 55, 3)
