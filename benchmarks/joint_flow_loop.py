"""The joint flow as it is usually written: one nflows flow per joint, with parameters of its own, in a loop over joints."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from pose_priors.body.rotations import NUM_MATRIX_FEATURES, haar_correction
from pose_priors.priors.angular_central_gaussian import defend
from pose_priors.priors.joint_flow import JointFlow
from pose_priors.priors.networks.flows import (  # type: ignore[attr-defined]  # nflows' own transform, by the one door to it
    NUM_BINS,
    TAIL_BOUND,
    ConditionerMLP,
    PiecewiseRationalQuadraticCouplingTransform,
    TailCompression,
    compose,
    standard_normal_log_prob,
)

_CLIP = 1.0


class _Conditioner(nn.Module):
    """A joint's conditioner: the same layers as a group of a `GroupedConditioner`."""

    def __init__(self, num_inputs: int, num_outputs: int, prior: JointFlow) -> None:
        super().__init__()
        config = prior.config
        self.hidden_features = config.hidden
        num_context = prior.context.shape[1] * NUM_MATRIX_FEATURES
        self.net = ConditionerMLP(num_inputs + num_context, num_outputs, config.hidden, nn.Linear, config.num_blocks, config.dropout)

    def forward(self, inputs: Tensor, context: Tensor) -> Tensor:
        outputs: Tensor = self.net(torch.cat([inputs, context], -1))
        return outputs


class JointFlowLoop(nn.Module):
    """A copy of a joint flow of splines that goes from joint to joint, each with its own nflows transform and its own parameters.

    Whitening, context and defensive component are worked out for all joints at once, as the joint flow does it: they take little time.
    """

    def __init__(self, prior: JointFlow) -> None:
        super().__init__()
        self.prior = [prior]  # not a child: its parameters are not of this module
        self.flows = nn.ModuleList(_flow(prior, joint) for joint in range(prior.num_joints))

    def transformed(self, pose: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 55, 3) -> noise (B, J, 3) and log-determinants (B, J) of the flows alone."""
        prior = self.prior[0]
        rotvec = prior.select(pose)
        white, _ = prior.whitening(rotvec)
        features = prior._context_of(rotvec, None).features
        rows = [flow(white[:, joint], features[joint]) for joint, flow in enumerate(self.flows)]
        return torch.stack([noise for noise, _ in rows], 1), torch.stack([log_det for _, log_det in rows], 1)

    def loss(self, pose: Tensor) -> Tensor:
        """The mean negative log-likelihood of poses (B, 55, 3), in nats."""
        prior = self.prior[0]
        rotvec = prior.select(pose)
        noise, log_det = self.transformed(pose)
        flow = standard_normal_log_prob(noise) + log_det + prior.whitening(rotvec)[1] + haar_correction(rotvec)
        return -defend(flow, prior.defensive.log_prob(rotvec), prior.config.defensive_weight).sum(-1).mean()


def _flow(prior: JointFlow, joint: int) -> nn.Module:
    """One joint's flow, with the joint's part of the grouped weights."""
    layers: list[nn.Module] = [TailCompression()]
    for grouped in list(prior.transform._transforms)[1:]:
        mask = torch.zeros(grouped.features)
        mask[grouped.transform_features] = 1
        layer = PiecewiseRationalQuadraticCouplingTransform(
            mask, lambda n_in, n_out: _Conditioner(n_in, n_out, prior), num_bins=NUM_BINS, tails="linear", tail_bound=TAIL_BOUND
        )
        state = {
            name: value[joint].T if name.endswith("weight") else value[joint, 0]
            for name, value in grouped.transform_net.net.state_dict().items()
        }
        layer.to(prior.default_pose.dtype).transform_net.net.load_state_dict(state)
        layers.append(layer)
    flow: nn.Module = compose(layers)
    return flow


def training_step(model: nn.Module, loss: Callable[[], Tensor], optimizer: torch.optim.Optimizer) -> None:
    """A whole step: gradients to none, loss, its gradient, its norm clipped, a step of the optimiser."""
    optimizer.zero_grad()
    loss().backward()
    nn.utils.clip_grad_norm_(model.parameters(), _CLIP)
    optimizer.step()
