"""How people reach and sit down: hands arrive, the trunk leads, speeds as in the literature."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from synthetic_cases import ANKLES, FPS, HIPS, KNEES, SHELF, SIT, WRISTS, frames, generator, world

from pose_priors.body.builtin import ANKLE_HEIGHT, rest_joints
from pose_priors.body.skeleton import index_of
from pose_priors.datamodules.synthetic.reaching import effort_for, reaching
from pose_priors.datamodules.synthetic.sitting import HIPS_ABOVE_SEAT, sitting


@pytest.mark.parametrize("height", [0.16, 0.5, 0.95])
@pytest.mark.parametrize("apart", [0.0, 0.08])
def test_reaching_hands_get_there(height: float, apart: float) -> None:
    plan = replace(SHELF, height=height, apart=apart, knees=0.7)
    for seed in range(2):
        motion = reaching(plan, frames(plan.seconds), FPS, 1.75, generator(seed))
        joints, _ = world(motion)
        effort, target = effort_for(plan, 1.75, int(torch.randint(2**62, (), generator=generator(seed))))
        there = slice(frames(plan.begin_s + plan.out_s) + 1, frames(plan.begin_s + plan.out_s + plan.there_s) - 1)
        hands = 2 if apart else 1
        error = np.linalg.norm(joints[there, WRISTS[:hands]] - target.numpy()[:hands], axis=-1)
        assert error.max() < 0.01
        assert (target - plan.target(1.75))[:hands].norm(dim=-1).max() < (0.12 if height < 0.3 else 0.06)
        assert (effort > 0.5) if height < 0.3 else (effort < 0.6)
        np.testing.assert_allclose(joints[0, WRISTS], joints[-1, WRISTS], atol=0.05)


def test_hands_move_with_the_least_jerk() -> None:
    """The speed has one peak, in the middle, 1.875 times its mean (Flash & Hogan, 1985)."""
    motion = reaching(SHELF, frames(SHELF.seconds), FPS, 1.75, generator())
    out = slice(frames(SHELF.begin_s), frames(SHELF.begin_s + SHELF.out_s) + 1)
    speed = np.linalg.norm(np.diff(world(motion)[0][out, WRISTS[0]], axis=0), axis=-1)
    assert speed.max() / speed.mean() == pytest.approx(1.875, rel=0.15)
    assert speed.argmax() / len(speed) == pytest.approx(0.5, abs=0.12)


@pytest.mark.parametrize(("seat", "stature"), [(0.24, 1.85), (0.28, 1.6)])
def test_sitting_reaches_the_seat(seat: float, stature: float) -> None:
    plan = replace(SIT, seat=seat)
    motion = sitting(plan, frames(plan.seconds) + 1, FPS, stature, generator())
    joints, _ = world(motion)
    hips = joints[:, HIPS, 1].mean(1)
    seated = slice(frames(plan.begin_s + plan.down_s), frames(plan.begin_s + plan.down_s + plan.seated_s))
    assert hips[seated] == pytest.approx((seat + HIPS_ABOVE_SEAT) * stature, abs=1e-3)
    assert hips.min() > (seat + HIPS_ABOVE_SEAT) * stature - 1e-3
    rest = rest_joints(stature)
    standing = ANKLE_HEIGHT * stature + float(rest[HIPS[0], 1] - rest[ANKLES[0], 1])
    assert hips[[0, -1]] == pytest.approx(standing, abs=0.02)
    knees = motion.pose[seated, KNEES[0], 0].rad2deg()
    assert ((knees > 60) & (knees < 115)).all()


def test_trunk_leans_before_the_body_leaves_the_seat() -> None:
    """Schenkman et al. (1990): the trunk is flexed most about when the body leaves the seat, and extends while it rises."""
    plan = replace(SIT, sits_down=False)
    motion = sitting(plan, frames(plan.seconds) + 1, FPS, 1.7, generator())
    joints, _ = world(motion)
    trunk = joints[:, index_of("neck")] - joints[:, 0]
    lean = np.degrees(np.arctan2(trunk[:, 2], trunk[:, 1]))
    hips = joints[:, HIPS, 1].mean(1)
    begin = frames(plan.begin_s + plan.seated_s)
    lifted = int((hips > hips[0] + 0.01).argmax())
    assert 0.25 < (lifted - begin) / frames(plan.up_s) < 0.5
    assert 0 <= (lean.argmax() - begin) / frames(plan.up_s) < 0.55
    assert lean.max() - lean[begin] > 20
    assert abs(lean[-1]) < 15
