"""Films of refinements: what is on them, and where."""

from __future__ import annotations

import builtins
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from PIL import Image
from recorded_files import HIDDEN, LAST, output, refined
from scenes import SIZE, Clip

from pose_priors.body.layout import layout
from pose_priors.configs.base import UserError
from pose_priors.refinement.result.found import find_results
from pose_priors.refinement.show import recording_style as style
from pose_priors.refinement.show.record import main
from pose_priors.refinement.show.recording_data import read_recording_data
from pose_priors.refinement.show.video import encoder
from pose_priors.refinement.show.video.encoder import require_ffmpeg, write_mp4
from pose_priors.refinement.show.video.film import Film

_LIMBS = [4, 5, 7, 8, 18, 19]  # knees, ankles and elbows: thin enough that a bone off by a hand's width is not there


def _film(clip: Clip, images: Path | None = None) -> Film:
    return Film(read_recording_data(find_results(clip.folder)[0], images=images))


def _decoded(path: Path) -> tuple[np.ndarray, dict[str, Any]]:
    """(n, h, w, 3) and what the file says of itself, by ffmpeg's own reader."""
    import imageio_ffmpeg

    frames = imageio_ffmpeg.read_frames(str(path))
    told = next(frames)
    width, height = told["size"]
    return np.stack([np.frombuffer(frame, np.uint8).reshape(height, width, 3) for frame in frames]), told


def _hue_of(pixels: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    """The cosine between colours (..., 3) and one: 1 however bright it is."""
    wanted = np.array(colour) / np.linalg.norm(colour)
    found: np.ndarray = pixels @ wanted / np.maximum(np.linalg.norm(pixels, axis=-1), 1e-9)
    return found


def _pixels(joints: np.ndarray, w2c: np.ndarray, intrinsics: np.ndarray) -> np.ndarray:
    there = (joints @ w2c[:3, :3].T + w2c[:3, 3]) @ intrinsics.T
    return there[:, :2] / there[:, 2:]


def test_a_film_decodes_to_every_frame_at_the_clips_rate(recorded: Clip, tmp_path: Path) -> None:
    path = tmp_path / "overlay.mp4"
    assert main([str(recorded.folder), "--video", str(path)]) == [path]
    frames, told = _decoded(path)
    assert frames.shape == (LAST + 1, SIZE[1], 2 * SIZE[0], 3)
    assert told["fps"] == 25
    drawn = np.stack(list(_film(recorded).pictures()))
    # what compression and colours of half the size cost
    assert np.abs(frames.astype(float) - drawn).mean() < 4
    assert [path.name for path in tmp_path.iterdir()] == ["overlay.mp4"]


def test_a_picture_is_that_frame_of_the_film(recorded: Clip, tmp_path: Path) -> None:
    drawn = list(_film(recorded).pictures())
    for options, frame in (([], LAST // 2), (["--frame", "1"], 1)):
        path = tmp_path / f"{frame}.png"
        assert main([str(recorded.folder), "--picture", str(path), *options]) == [path]
        assert np.array_equal(np.asarray(Image.open(path)), drawn[frame])
    assert not np.array_equal(drawn[1], drawn[LAST // 2])


@pytest.mark.parametrize("person", [1, 2])
def test_bodies_are_where_the_joints_are_seen(recorded: Clip, person: int) -> None:
    drawn = np.stack(list(_film(recorded).pictures())).astype(float)
    after, colour = refined(recorded, person), style.person_colour(person - 1)
    for row, frame in enumerate(after["frame_ids"].tolist()):
        if frame in HIDDEN and person == 2:
            continue
        pixels = _pixels(after["joints"][row, _LIMBS], after["camera_w2c"][row], after["intrinsics"][row])
        # the truth, which is the input of this clip, seen by the true cameras: at any scale it is where it is in the picture
        given = _pixels(recorded.joints[person - 1, frame, _LIMBS], recorded.w2c[frame], recorded.intrinsics)
        for shift, wanted in ((SIZE[0], pixels), (0, given)):
            inside = (wanted > 0).all(1) & (wanted < np.array(SIZE) - 1).all(1)
            assert inside.any()
            x, y = np.floor(wanted[inside]).astype(int).T
            assert _hue_of(drawn[frame, y, x + shift], colour).min() > 0.97, (frame, shift)


def test_the_rest_of_the_picture_is_what_the_camera_saw(recorded: Clip, tmp_path: Path) -> None:
    red = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
    red[..., 0] = 200
    for frame in range(LAST + 1):
        Image.fromarray(red).save(tmp_path / f"{frame:04d}.png")
    drawn = next(_film(recorded, tmp_path).pictures())
    untouched = (drawn == [200, 0, 0]).all(-1)
    after = refined(recorded, 1)
    pixels = _pixels(after["joints"][0], after["camera_w2c"][0], after["intrinsics"][0])
    low, high = pixels.min(0), pixels.max(0)
    assert untouched[:, SIZE[0] :][SIZE[1] // 10 :, : int(low[0]) - 40].all()
    assert not untouched[int(low[1]) : int(high[1]), SIZE[0] + int(low[0]) : SIZE[0] + int(high[0])].all()
    assert 0.8 < untouched.mean() < 0.99


def test_whom_nobody_sees_is_pale_after_and_not_there_before(recorded: Clip) -> None:
    drawn = list(_film(recorded).pictures())
    colour = style.person_colour(1)
    after = refined(recorded, 2)
    strength = {}
    for frame in (HIDDEN[0] - 1, HIDDEN[0]):
        pixels = _pixels(after["joints"][frame, [3]], after["camera_w2c"][frame], after["intrinsics"][frame])[0].astype(int)
        around = (slice(pixels[1] - 2, pixels[1] + 3), slice(pixels[0] - 2, pixels[0] + 3))
        left, right = drawn[frame][:, : SIZE[0]][around].astype(float), drawn[frame][:, SIZE[0] :][around].astype(float)
        strength[frame] = tuple(float(np.ptp(side.mean((0, 1)))) for side in (left, right))
        if frame in HIDDEN:
            assert _hue_of(left, colour).max() < 0.95
    seen, hidden = strength[HIDDEN[0] - 1], strength[HIDDEN[0]]
    assert 0.2 * seen[1] < hidden[1] < 0.7 * seen[1]
    assert hidden[0] < 0.1 * seen[0]


def test_without_the_input_there_is_one_side_at_the_rate_that_the_result_says(recorded: Clip, tmp_path: Path) -> None:
    shutil.copytree(output(recorded), tmp_path / "results" / "clip", ignore=shutil.ignore_patterns("*.rrd"))
    results = tmp_path / "results" / "clip" / "refinement_results.json"
    results.write_text(json.dumps(json.loads(results.read_text()) | {"fps": 30000 / 1001}))
    main([str(tmp_path / "results"), "--video", str(tmp_path / "plain.mp4")])
    frames, told = _decoded(tmp_path / "plain.mp4")
    assert frames.shape == (LAST + 1, SIZE[1], SIZE[0], 3)
    said = subprocess.run([require_ffmpeg(), "-i", tmp_path / "plain.mp4"], capture_output=True, text=True, check=False).stderr
    assert "29.97 fps" in said
    assert told["duration"] == pytest.approx((LAST + 1) * 1001 / 30000, abs=0.02)
    # the floor's lines are on it, and what is neither floor nor body is the plain ground
    near = np.abs(frames[0].astype(int) - style.BACKGROUND).max(-1) < 8
    assert 0.8 < near.mean() < 0.98
    assert (np.abs(frames[0].astype(int) - style.FLOOR).max(-1) < 12).sum() > 100


def test_a_film_that_fails_leaves_what_was_there(own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "films" / "overlay.mp4"
    path.parent.mkdir()
    path.write_bytes(b"what was there")

    def fail(*_: object) -> None:
        raise RuntimeError("in the middle")

    monkeypatch.setattr(Film, "_side", fail)
    with pytest.raises(RuntimeError, match="in the middle"):
        main([str(own), "--video", str(path)])
    assert path.read_bytes() == b"what was there"
    assert list(path.parent.iterdir()) == [path]


def test_a_full_disk_and_an_ffmpeg_that_fails_are_told_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    path = tmp_path / "film.mp4"
    full = tmp_path / "ffmpeg"
    full.write_text('#!/bin/sh\nhead -c 100 > /dev/null\necho "av_interleaved_write_frame(): No space left on device" >&2\nexit 1\n')
    full.chmod(0o755)
    monkeypatch.setattr(encoder, "require_ffmpeg", lambda: str(full))
    with pytest.raises(UserError, match=r"film.mp4: cannot be written \(No space left on device\).*make room"):
        write_mp4(path, [picture] * 500, (64, 64), 30)
    full.write_text('#!/bin/sh\necho "one" >&2\necho "Unknown encoder" >&2\nexit 1\n')
    with pytest.raises(UserError, match=r"film.mp4: ffmpeg failed \(Unknown encoder\)") as caught:
        write_mp4(path, [picture] * 500, (64, 64), 30)
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["ffmpeg"]


def test_what_ffmpeg_says_of_a_full_disk_is_known() -> None:
    command = [require_ffmpeg(), "-y", "-loglevel", "error", *encoder._format((64, 64), 30), "-f", "nut", "/dev/full"]
    pictures = np.random.default_rng(0).integers(0, 255, (60, 64, 64, 3), np.uint8)
    with pytest.raises(OSError, match="No space left"):
        encoder._encode(command, pictures, Path("film.mp4"))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--video", "film.avi"], "ends with .mp4"),
        (["--video", "nowhere/film.mp4"], "nowhere is no folder"),
        (["--picture", "film.jpg"], "ends with .png"),
        (["--picture", "film.png", "--frame", "900"], "--frame 900: clip has frames 0 to"),
        (["--picture", "film.png", "--prior", "a.ckpt"], "--prior: goes with recordings, not with --picture"),
        (["--frame", "3"], "give --picture FILE.png too"),
        (["--video", "film.mp4", "--output", "out"], "--output: goes with recordings"),
    ],
)
def test_what_does_not_go_with_a_film_is_refused(own: Path, options: list[str], said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(own)
    with pytest.raises(UserError, match=said):
        main([str(own), *options])
    assert not list(own.rglob("film.*"))


def test_one_film_shows_one_result(own: Path, tmp_path: Path) -> None:
    shutil.copytree(own, tmp_path / "other")
    with pytest.raises(UserError, match="--video: a film shows one result; of clip, other name one"):
        main([str(tmp_path), "--video", str(tmp_path / "film.mp4")])


def test_without_ffmpeg_it_is_told_before_the_work_and_rerun_is_not_needed(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, absent = builtins.__import__, {"rerun"}

    def missing(name: str, *rest: Any) -> Any:
        if name.split(".")[0] in absent:
            raise ModuleNotFoundError(f"No module named '{name}'")
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", missing)
    main([str(own), "--video", str(tmp_path / "film.mp4")])
    (tmp_path / "film.mp4").unlink()
    absent.add("imageio_ffmpeg")
    with pytest.raises(UserError, match=r"--video needs imageio-ffmpeg.*pip install 'pose-priors\[view\]'"):
        main([str(own), "--video", str(tmp_path / "film.mp4")])
    assert not list(tmp_path.glob("*.mp4"))


def test_bones_of_every_layout_have_a_thickness(recorded: Clip) -> None:
    from pose_priors.refinement.show.video.capsules import capsules_of

    joints = refined(recorded, 1)["joints"]
    adult, child = capsules_of(joints), capsules_of(0.5 * joints)
    np.testing.assert_allclose(child.radii, 0.5 * adult.radii)
    assert adult.ends.shape == (len(joints), len(layout(24).parents) - 1 + 3, 2, 3)
    assert 0.008 < adult.radii.min() <= adult.radii.max() < 0.15


@pytest.mark.parametrize("option", ["--video", "--picture"])
def test_a_place_that_cannot_be_written_to_is_told_before_anything_is_drawn(own: Path, tmp_path: Path, option: str) -> None:
    ending = {"--video": ".mp4", "--picture": ".png"}[option]
    (tmp_path / f"folder{ending}").mkdir()
    for place, told in ((Path(f"/proc/film{ending}"), "cannot be written"), (tmp_path / f"folder{ending}", "a file that ends with")):
        picture = [] if option == "--picture" else ["--picture", str(tmp_path / "first.png")]
        with patch.object(Film, "__init__", side_effect=AssertionError("drawn")), pytest.raises(UserError, match=told):
            main([str(own), option, str(place), *picture])
    assert not (tmp_path / "first.png").exists()
