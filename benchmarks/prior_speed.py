"""How fast the priors are, as poses a second and as ratios within this run: `OMP_NUM_THREADS=1 python -m benchmarks.prior_speed`.

Ratios carry over to other machines; poses a second do not.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch

from datamodules.synthetic import synthetic_poses
from priors.base import Prior
from priors.gaussian import GaussianConfig
from priors.global_flow import GlobalFlowConfig
from priors.grouped import GroupContext
from priors.hand_vae import HandVAEConfig
from priors.joint_flow import JointFlow, JointFlowConfig

_BATCH, _REPEATS = 512, 7
_CONFIGS = {
    "gaussian": GaussianConfig(kind="gaussian"),
    "joint_flow, spline": JointFlowConfig(kind="joint_flow"),
    "joint_flow, affine": JointFlowConfig(kind="joint_flow", transform="affine"),
    "joint_flow, spline, correlated": JointFlowConfig(kind="joint_flow", context="correlated"),
    "global_flow, affine": GlobalFlowConfig(kind="global_flow"),
    "global_flow, spline": GlobalFlowConfig(kind="global_flow", transform="spline"),
    "hand_vae": HandVAEConfig(kind="hand_vae"),
}


def seconds(function: Callable[[], object]) -> float:
    """Median wall time of one call, after one to warm up."""
    function()
    times = []
    for _ in range(_REPEATS):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def train_step(prior: Prior, poses: torch.Tensor) -> None:
    prior.zero_grad()
    prior.loss(poses)["loss"].backward()


@torch.no_grad()
def joint_by_joint(prior: JointFlow, poses: torch.Tensor) -> torch.Tensor:
    """The noise of a joint flow by a loop over joints, as it would be without grouped networks."""
    rotvec = prior.select(poses)
    white, _ = prior.whitening(rotvec)
    features = prior._context_of(rotvec, None).features
    rows = [prior.transform(white[:, j], GroupContext(features[j : j + 1], torch.tensor([j])))[0] for j in range(prior.num_joints)]
    return torch.stack(rows, 1)


def main() -> None:
    poses = synthetic_poses(4096, seed=0)
    batch = poses[:_BATCH]
    print(f"{torch.get_num_threads()} thread(s), batches of {_BATCH}, 54 joints; poses a second")
    print(f"{'prior':32s}{'energy':>12s}{'training':>12s}{'sampling':>12s}")
    for name, config in _CONFIGS.items():
        prior = config.build(range(1, 55))
        prior.start(poses)
        training = seconds(lambda prior=prior: train_step(prior.train(), batch))
        prior.eval()
        with torch.no_grad():
            energy = seconds(lambda prior=prior: prior.energy(batch))
        sampling = seconds(lambda prior=prior: prior.sample(_BATCH))
        print(f"{name:32s}" + "".join(f"{_BATCH / t:12.0f}" for t in (energy, training, sampling)))
        if isinstance(prior, JointFlow):
            with torch.no_grad():
                batched = seconds(lambda prior=prior: prior._forward(prior.select(batch)))
                noise, _ = prior._forward(prior.select(batch))
            torch.testing.assert_close(noise, joint_by_joint(prior, batch), atol=1e-4, rtol=1e-4)
            looped = seconds(lambda prior=prior: joint_by_joint(prior, batch))
            few = seconds(lambda prior=prior: prior._forward(prior.select(batch[:16])))
            few_looped = seconds(lambda prior=prior: joint_by_joint(prior, batch[:16]))
            print(f"  a loop over joints takes x {looped / batched:.1f} at {_BATCH} poses, x {few_looped / few:.1f} at 16")


if __name__ == "__main__":
    main()
