"""Masks as tools write them: truth values, brightness, numbers of people, palettes."""

from __future__ import annotations

import multiprocessing
import threading
import time
from collections.abc import Callable
from pathlib import Path
from threading import Event

import numpy as np
import pytest
from PIL import Image
from scenes import Clip

from pose_priors.configs.base import UserError
from pose_priors.refinement.formats.masks import Masks
from pose_priors.refinement.formats.pictures import read_png
from pose_priors.refinement.formats.tools.multi_tram import read_clip
from pose_priors.refinement.given.load import load_problem

PERSON = np.zeros((6, 8), bool)
PERSON[1:4, 2:7] = True


def palette(number: int) -> Image.Image:
    image = Image.fromarray(PERSON.astype(np.uint8) * number).convert("P")
    image.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0] + [0] * 759)
    return image


@pytest.mark.parametrize(
    "content",
    [
        PERSON,
        PERSON.astype(np.uint8),
        PERSON.astype(np.uint8) * 255,
        PERSON.astype(np.uint8) * 7,
        PERSON.astype(np.int64) * 300,
        PERSON.astype(np.float32),
        PERSON[None],
        PERSON[..., None],
        Image.fromarray(PERSON.astype(np.uint8) * 255),
        Image.fromarray(PERSON),
        palette(1),
        palette(2),
    ],
    ids=[
        "truth",
        "one",
        "bright",
        "number",
        "large number",
        "float",
        "leading",
        "trailing",
        "png",
        "png of bits",
        "palette",
        "palette of the second",
    ],
)
def test_the_person_is_what_is_not_nothing(tmp_path: Path, content: np.ndarray | Image.Image) -> None:
    (tmp_path / "masks").mkdir()
    name = tmp_path / "masks" / "frame_000003_person_002"
    if isinstance(content, np.ndarray):
        np.save(name.with_suffix(".npy"), content)
    else:
        content.save(name.with_suffix(".png"))
    warnings: list[str] = []
    masks = Masks(tmp_path, warnings)
    np.testing.assert_array_equal(masks.read(2, 3), PERSON)
    masks.close()
    assert warnings == []


def test_a_smoothed_rim_is_half_on_the_person(tmp_path: Path) -> None:
    (tmp_path / "masks").mkdir()
    np.save(tmp_path / "masks" / "person_1_frame_1.npy", np.array([[0, 100, 200, 255], [0, 0, 0, 0]], np.uint8))
    mask = Masks(tmp_path, []).read(1, 1)
    assert mask is not None
    assert mask.tolist() == [[False, False, True, True], [False] * 4]


@pytest.mark.parametrize("shape", [(6, 8), (5, 7), (1, 1)])
@pytest.mark.parametrize("filled", ["nothing", "all", "scattered", "a corner"])
def test_a_mask_is_decoded_once_and_stays_what_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shape: tuple[int, int], filled: str
) -> None:
    (tmp_path / "masks").mkdir()
    true = np.zeros(shape, bool)
    if filled == "all":
        true[:] = True
    elif filled == "scattered":
        true = np.random.default_rng(0).random(shape) < 0.4
    elif filled == "a corner":
        true[-1, -1] = True
    Image.fromarray(true.astype(np.uint8) * 255).save(tmp_path / "masks" / "frame_1_person_1.png")
    masks, read = Masks(tmp_path, []), []
    monkeypatch.setattr("pose_priors.refinement.formats.masks.read_png", lambda path: read.append(path) or read_png(path))
    for _ in range(3):
        found = masks.read(1, 1)
        np.testing.assert_array_equal(found, true)
        assert found is not None
        found[:] = ~found  # whoever asked may do with it what they like
    assert len(read) == 1
    assert masks.read(2, 1) is None


def test_masks_are_decoded_before_they_are_asked_for_and_what_is_asked_for_waits_for_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "masks").mkdir()
    frames = range(0, 14, 2)
    files = {frame: tmp_path / "masks" / f"person_1_frame_{frame}.png" for frame in frames}
    for frame, path in files.items():
        Image.fromarray(np.arange(frames[-1] + 1, dtype=np.uint8)[None] // (frame + 1) * 255).save(path)
    for frame in (6, 10):
        files[frame].write_bytes(b"no picture")
    begun, warnings = list[Path](), list[str]()
    ahead, go = Event(), Event()

    def read(path: Path) -> np.ndarray:
        begun.append(path)
        if path == files[2]:
            ahead.set()
        if path in (files[0], files[2]):  # both threads are busy with these
            go.wait(10)
        return read_png(path)

    monkeypatch.setattr("pose_priors.refinement.formats.masks.read_png", read)
    masks = Masks(tmp_path, warnings)
    masks.decode([1, 7], range(11))
    assert ahead.wait(10)
    found = {frame: masks.read(1, frame) for frame in (10, 8)}
    assert files[4] not in begun  # it stands in the queue before both
    go.set()
    found |= {frame: masks.read(1, frame) for frame in (0, 2, 4, 6, 12)}
    masks.close()
    assert sorted(begun) == sorted(files.values())
    assert [frame for frame, mask in found.items() if mask is None] == [10, 6]
    assert all(mask is None or mask.sum() == frames[-1] - frame for frame, mask in found.items())
    assert len(warnings) == 1
    assert "2 masks" in warnings[0]
    assert warnings[0].index(files[10].name) < warnings[0].index(files[6].name)  # in the order of asking, not of decoding


def test_numbers_of_people_in_one_picture_are_told_apart_beside_and_when_asked_for(tmp_path: Path) -> None:
    (tmp_path / "masks").mkdir()
    both = np.repeat(np.array([[0, 1, 2, 2]], np.uint8), 3, 0)
    Image.fromarray(both).save(tmp_path / "masks" / "frame_4.png")
    for ahead in ([1, 2], []):
        masks = Masks(tmp_path, [])
        masks.decode(ahead, [4])
        for person in (2, 1):
            np.testing.assert_array_equal(masks.read(person, 4), both == person)
        masks.close()


def test_a_mask_may_be_one_pixel_high(tmp_path: Path) -> None:
    (tmp_path / "masks").mkdir()
    np.save(tmp_path / "masks" / "frame_1_person_1.npy", PERSON[2:3])
    np.testing.assert_array_equal(Masks(tmp_path, []).read(1, 1), PERSON[2:3])


def write_masks(folder: Path, frames: range) -> None:
    (folder / "masks").mkdir()
    for frame in frames:
        Image.fromarray(PERSON.astype(np.uint8) * 255).save(folder / "masks" / f"frame_{frame}_person_1.png")


def test_threads_end_with_close_and_whoever_reads_on_begins_anew(tmp_path: Path) -> None:
    write_masks(tmp_path, range(9))
    before, masks = set(threading.enumerate()), Masks(tmp_path, [])
    for frames in (range(3), range(3, 6)):
        masks.decode([1], frames)
        assert set(threading.enumerate()) - before
        for frame in frames[:2]:
            np.testing.assert_array_equal(masks.read(1, frame), PERSON)
        masks.close()
        masks.close()
        assert not set(threading.enumerate()) - before
        for frame in frames:
            np.testing.assert_array_equal(masks.read(1, frame), PERSON)
        assert not set(threading.enumerate()) - before


def test_what_nobody_asked_for_is_not_decoded_after_close(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_masks(tmp_path, range(40))
    decoded: list[Path] = []

    def read(path: Path) -> np.ndarray:
        time.sleep(0.02)
        decoded.append(path)
        return read_png(path)

    monkeypatch.setattr("pose_priors.refinement.formats.masks.read_png", read)
    masks = Masks(tmp_path, [])
    masks.decode([1], range(40))
    masks.close()
    assert len(decoded) < 20


def test_a_clip_that_is_refused_leaves_no_threads(clip: Callable[..., Clip], monkeypatch: pytest.MonkeyPatch) -> None:
    """And one that is read for something else than its problem begins none."""
    stages = clip().stages
    before = set(threading.enumerate())
    read = read_clip(*stages[:3], None, None, [])
    assert not set(threading.enumerate()) - before
    assert read.masks.read(1, int(read.cameras.frame_ids[0])) is not None

    def in_metres(*_: object) -> None:
        assert set(threading.enumerate()) - before
        raise UserError("no metres")

    monkeypatch.setattr("pose_priors.refinement.given.load.in_metres", in_metres)
    with pytest.raises(UserError, match="no metres"):
        load_problem(*stages[:3], None)
    assert not set(threading.enumerate()) - before


def test_masks_are_read_after_a_fork(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whose process has none of the threads, while one of them was about to decode the next mask."""
    write_masks(tmp_path, range(6))
    begun, go = Event(), Event()

    def read(path: Path) -> np.ndarray:
        if "frame_2" in path.name:
            begun.set()
            go.wait(20)
        return read_png(path)

    monkeypatch.setattr("pose_priors.refinement.formats.masks.read_png", read)
    masks = Masks(tmp_path, [])
    masks.decode([1], range(6))
    assert begun.wait(10)
    monkeypatch.undo()

    def there() -> None:
        for frame in range(6):
            np.testing.assert_array_equal(masks.read(1, frame), PERSON)
        masks.close()

    child = multiprocessing.get_context("fork").Process(target=there)
    child.start()
    child.join(20)
    go.set()
    if child.is_alive():
        child.kill()
    child.join()
    masks.close()
    assert child.exitcode == 0


def test_what_cannot_be_read_is_told_by_its_name_once_and_why(tmp_path: Path) -> None:
    (tmp_path / "masks").mkdir()
    damaged = [tmp_path / "masks" / f"frame_{number}_person_1.{kind}" for number, kind in ((1, "png"), (2, "png"), (3, "npy"))]
    damaged[0].write_bytes(b"no picture")
    Image.fromarray(PERSON).save(damaged[1].with_suffix(".jpg"))
    damaged[1].with_suffix(".jpg").rename(damaged[1])
    np.save(damaged[2], np.array([{1: 2}, None], object))
    whys = [
        f"{damaged[0]}: no picture in PNG",
        f"{damaged[1]}: no picture in PNG",
        f"{damaged[2]}: 'array' holds no numbers (float() argument must be a string or a real number, not 'dict')",
    ]
    for number, why in enumerate(whys, 1):
        warnings: list[str] = []
        masks = Masks(tmp_path, warnings)
        assert masks.read(1, number) is None
        masks.close()
        assert warnings == [f"1 mask could not be read, as PNG or .npy of (h, w): {why}"]
