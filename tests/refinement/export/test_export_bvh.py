"""BVH files, by a slow parser: the joints that come out are those that went in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from export_results import FPS, LIVES, TOLERANCE_M, Result, every_body, exported, z_up
from scipy.spatial.transform import Rotation

from pose_priors.body.skeleton import index_of


def read_bvh(path: Path) -> tuple[list[str], np.ndarray, np.ndarray, float]:
    """Names, joints (T, J, 3) in the file's unit, the channels (T, C) and the frame time."""
    words = iter(path.read_text().split())
    names, offsets, parents, channels, stack, numbers = [], [], [], [], [], []
    frames, frame_time, ending = 0, 0.0, False
    for word in words:
        if word in ("ROOT", "JOINT"):
            names.append(next(words))
            parents.append(stack[-1] if stack else -1)
            channels.append([])
            ending = False
        elif word == "End":
            assert next(words) == "Site"
            ending = True
        elif word == "{":
            stack.append(-2 if ending else len(names) - 1)
        elif word == "}":
            ending = stack.pop() == -2 and False
        elif word == "OFFSET":
            value = [float(next(words)) for _ in range(3)]
            if stack[-1] >= 0:
                offsets.append(value)
        elif word == "CHANNELS":
            channels[-1] = [next(words) for _ in range(int(next(words)))]
        elif word == "Frames:":
            frames = int(next(words))
        elif word == "Time:":
            frame_time = float(next(words))
            numbers = [float(value) for value in words]
    rows = np.array(numbers).reshape(frames, -1)
    joints = np.zeros((frames, len(names), 3))
    for t, row in enumerate(rows):
        at, turns = 0, []
        for j, name_channels in enumerate(channels):
            move, turn = np.array(offsets[j]), Rotation.identity()
            for channel in name_channels:
                if channel.endswith("position"):
                    move["XYZ".index(channel[0])] += row[at]
                else:
                    turn = turn * Rotation.from_euler(channel[0].lower(), row[at], degrees=True)
                at += 1
            up = turns[parents[j]] if parents[j] >= 0 else Rotation.identity()
            joints[t, j] = up.apply(move) + (joints[t, parents[j]] if parents[j] >= 0 else 0)
            turns.append(up * turn)
        assert at == len(row)
    return names, joints, rows, frame_time


@every_body
def test_bvh_gives_the_joints(results: dict[int, Result], tmp_path: Path, num_joints: int) -> None:
    result = results[num_joints]
    files = exported(result, "bvh", tmp_path)
    assert [path.name for path in files] == [f"clip_person_{person:03d}.bvh" for person in LIVES]
    names, joints, rows, frame_time = read_bvh(files[1])
    truth = result.joints[2]
    assert frame_time == pytest.approx(1 / FPS, abs=1e-7)
    assert len(joints) == len(truth)
    order = [["left_hand", "right_hand"].index(name) + 22 if name in ("left_hand", "right_hand") else index_of(name) for name in names]
    assert sorted(order) == list(range(num_joints))
    assert np.abs(z_up(joints) / 100 - truth[:, order]).max() < TOLERANCE_M
    # through the lock of the elbow and around with the pelvis, no channel jumps by whole turns
    assert np.abs(np.diff(rows[:, 3:], axis=0)).max() < 181
    heading = rows[:, 3:6]
    assert np.abs(np.diff(heading, axis=0)).max() < 30
    assert np.ptp(heading, axis=0).max() > 350
