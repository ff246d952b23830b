"""The hand VAE against brute-force evidence, mirrored hands, and rotations from anywhere."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import roma
import torch
import yaml

from pose_priors.body.rotations import geodesic_angle, mean_rotation, mirror_pose
from pose_priors.body.skeleton import JOINT_NAMES, PARTS
from pose_priors.configs.base import UserError
from pose_priors.priors.hand_vae import HandVAE, HandVAEConfig
from pose_priors.priors.networks.hands import rotmat_from_6d

LEFT, RIGHT = PARTS["left_hand"], PARTS["right_hand"]
BOTH = (*LEFT, *RIGHT)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def make_config(**changes: object) -> HandVAEConfig:
    return HandVAEConfig(**{"kind": "hand_vae", "hands": "one", "z_dim": 2, "hidden": 16, "n_layers": 1, "dropout": 0.0, **changes})


def make_poses(num: int, noise: float = 0.03) -> torch.Tensor:
    """Hands that flex along two synergies, a little noise on top."""
    generator = torch.Generator().manual_seed(1)
    synergies = torch.randn(2, 55, 3, generator=generator) * 0.2
    codes = torch.randn(num, 2, generator=generator)
    pose = 0.3 + torch.einsum("nk,kjc->njc", codes, synergies) + noise * torch.randn(num, 55, 3, generator=generator)
    return roma.rotmat_to_rotvec(roma.rotvec_to_rotmat(pose))


def train(prior: HandVAE, poses: torch.Tensor, num_steps: int, learning_rate: float = 1e-2) -> HandVAE:
    prior.fit_statistics(poses)
    optimizer = torch.optim.Adam(prior.parameters(), learning_rate)
    prior.train()
    for _ in range(num_steps):
        optimizer.zero_grad()
        prior.loss(poses)["loss"].backward()
        optimizer.step()
    return prior.eval()


@pytest.fixture(scope="module", params=["standard", "so3"])
def trained(request: pytest.FixtureRequest) -> HandVAE:
    torch.manual_seed(0)
    return train(make_config(type=request.param, kl_warmup_steps=50).build(RIGHT), make_poses(128), 150)


def evidence(prior: HandVAE, pose: torch.Tensor) -> torch.Tensor:
    """log p(pose) for a latent of two dimensions by the trapezoidal rule, from public methods alone."""
    axis = torch.linspace(-5, 5, 201)
    z = torch.cartesian_prod(axis, axis)
    mode = roma.rotvec_to_rotmat(prior.select(prior.decode(z)))
    log_prior = -0.5 * z.square().sum(-1) - math.log(2 * math.pi) + 2 * math.log(float(axis[1] - axis[0]))
    rotation = roma.rotvec_to_rotmat(prior.select(pose))
    return torch.stack([torch.logsumexp(prior.density.log_prob(r, mode).sum(-1) + log_prior, 0) for r in rotation])


@pytest.mark.parametrize("kind", ["standard", "so3"])
def test_bound_rises_with_its_samples_to_the_evidence_by_quadrature(kind: str) -> None:
    # noisy hands and a posterior that is too wide, so that the grid resolves the truth and importance sampling covers it
    poses = make_poses(128, noise=0.3)
    prior = train(make_config(type=kind, kl_warmup_steps=0).build(RIGHT), poses, 80)
    with torch.no_grad():
        prior.encoder.skip.bias[prior.config.z_dim :] += 1
        true = evidence(prior, poses[:4])
    generator = torch.Generator().manual_seed(0)
    one, few, many = (
        torch.stack([prior.bound(poses[:4], k, generator) for _ in range(repeats)]).mean(0)
        for k, repeats in [(1, 400), (4, 400), (10_000, 1)]
    )
    assert (one < few - 0.05).all()
    assert (few < true - 0.05).all()
    torch.testing.assert_close(many, true, atol=0.1, rtol=0)


def test_training_explains_the_data(trained: HandVAE) -> None:
    pose = make_poses(300)[256:]
    untrained = make_config(type=trained.config.type).build(RIGHT)
    untrained.fit_statistics(make_poses(256))
    scores = trained.extra_scores(pose)
    assert scores["reconstruction_deg"] < 5 < untrained.extra_scores(pose)["reconstruction_deg"]
    assert scores["nll_bound"] < -30
    loss = trained.loss(pose)
    assert float(loss["reconstruction_deg"]) == pytest.approx(scores["reconstruction_deg"], rel=1e-3)
    # one sample against sixty-four
    assert loss["loss"].item() > scores["nll_bound"]


@torch.no_grad()
def test_energy_tells_hands_from_random_rotations_and_counts_no_other_joint(trained: HandVAE) -> None:
    pose = make_poses(64)
    random = roma.random_rotvec(64 * 55).view(64, 55, 3)
    assert trained.energy(random).min() > trained.energy(pose).max()
    other = pose.clone()
    other[:, : RIGHT[0]] = random[:, : RIGHT[0]]
    torch.testing.assert_close(trained.energy(other), trained.energy(pose))


@pytest.mark.parametrize(("kind", "hands"), [("standard", "both"), ("so3", "one")])
def test_energy_and_reconstruction_are_finite_for_any_rotations(kind: str, hands: str) -> None:
    prior = train(make_config(type=kind, hands=hands, kl_warmup_steps=0).build(BOTH), make_poses(64), 60)
    random = roma.random_rotvec(10_000 * 55).view(-1, 55, 3)
    flipped = torch.nn.functional.normalize(torch.randn(50, 55, 3), dim=-1) * math.pi
    pose = torch.cat([random, flipped, torch.zeros(1, 55, 3), torch.full((1, 55, 3), 1e-9), 30 * random[:50]]).requires_grad_()
    energy = prior.energy(pose)
    (gradient,) = torch.autograd.grad(energy.sum(), pose)
    energy = energy.detach()
    assert torch.isfinite(energy).all()
    assert torch.isfinite(gradient).all()
    assert torch.isfinite(prior.reconstruct(pose)).all()
    assert torch.isfinite(prior.bound(pose[-200:].detach(), 4)).all()
    # growing, without exploding
    assert float(energy.max()) < 100 * float(energy.median())


def test_a_mirrored_left_hand_scores_as_the_right_one(trained: HandVAE) -> None:
    prior = make_config(type=trained.config.type).build(BOTH)
    prior.load_state_dict(trained.state_dict())
    left_only = make_config(type=trained.config.type).build(LEFT)
    left_only.load_state_dict(trained.state_dict())
    pose = make_poses(8)
    mirrored = mirror_pose(pose)
    torch.testing.assert_close(left_only.energy(mirrored), trained.energy(pose))
    # both hands are a right hand: twice its energy, the same code twice, and a symmetric reconstruction
    symmetric = pose.clone()
    symmetric[:, list(LEFT)] = mirrored[:, list(LEFT)]
    torch.testing.assert_close(prior.energy(symmetric), 2 * trained.energy(pose))
    torch.testing.assert_close(prior.encode(symmetric).mean, trained.encode(pose).mean.repeat(1, 2))
    back = prior.reconstruct(symmetric)
    torch.testing.assert_close(back[:, list(BOTH)], mirror_pose(back)[:, list(BOTH)])
    torch.testing.assert_close(back[:, list(RIGHT)], trained.reconstruct(pose)[:, list(RIGHT)])


def test_joints_are_those_of_the_complete_hands() -> None:
    prior = make_config().build((0, 5, *LEFT[1:], *RIGHT))
    assert prior.joints == JOINT_NAMES[40:]
    assert make_config().build(BOTH).latent_dim == 4
    assert make_config(hands="both").build(range(55)).joints == JOINT_NAMES[25:]
    with pytest.raises(UserError, match="14 of 15 left_hand joints, 0 of 15 right_hand joints"):
        make_config().build(LEFT[1:])
    with pytest.raises(UserError, match="right_hand only; set model\\.hands=one"):
        make_config(hands="both").build(RIGHT)


@pytest.mark.parametrize("hands", ["one", "both"])
def test_shapes_and_default_pose(hands: str) -> None:
    prior = make_config(hands=hands).build(BOTH)
    poses = make_poses(32)
    prior.fit_statistics(poses)
    batch = poses[:6].view(2, 3, 55, 3)
    assert prior.energy(batch).shape == prior.bound(batch).shape == (2, 3)
    assert prior.energy(poses[0]).shape == prior.bound(poses[0]).shape == ()
    assert prior.encode(batch).mean.shape == (2, 3, prior.latent_dim)
    sample = prior.sample(5)
    assert sample.shape == (5, 55, 3)
    assert prior.sample(0).shape == (0, 55, 3)
    assert sample.norm(dim=-1).max() <= math.pi + 1e-5
    assert (sample[:, 0] == 0).all()  # the root, which a hand says nothing of, is upright
    torch.testing.assert_close(sample[:, 1:25], mean_rotation(poses)[1:25].expand(5, 24, 3))


def test_chunks_do_not_change_the_bound(trained: HandVAE, monkeypatch: pytest.MonkeyPatch) -> None:
    pose = make_poses(9)
    # noise is drawn chunk by chunk, so only a posterior without width makes the chunks comparable draw for draw
    monkeypatch.setattr(torch, "randn", lambda *shape, **kwargs: torch.zeros(*shape, dtype=kwargs["dtype"]))
    whole = trained.bound(pose, 4)
    monkeypatch.setattr("pose_priors.priors.hand_vae._CHUNK_ROWS", 8)
    torch.testing.assert_close(trained.bound(pose, 4), whole)


def test_results_depend_on_the_generator_alone(trained: HandVAE) -> None:
    pose = make_poses(16)

    def seeded(seed: int) -> torch.Generator:
        return torch.Generator().manual_seed(seed)

    assert torch.equal(trained.sample(7, seeded(3)), trained.sample(7, seeded(3)))
    assert not torch.equal(trained.sample(7, seeded(3)), trained.sample(7, seeded(4)))
    assert torch.equal(trained.bound(pose, 8, seeded(3)), trained.bound(pose, 8, seeded(3)))
    state = torch.get_rng_state()
    first, second = trained.loss(pose), trained.loss(pose)
    assert torch.equal(first["loss"], second["loss"])
    assert torch.equal(trained.energy(pose), trained.energy(pose))
    assert trained.extra_scores(pose) == trained.extra_scores(pose)
    assert torch.equal(state, torch.get_rng_state())


def test_state_dict_round_trip_keeps_everything(trained: HandVAE, tmp_path: Path) -> None:
    torch.save(trained.state_dict(), tmp_path / "state.pt")
    again = HandVAEConfig(**trained.config.model_dump()).build(trained.joint_indices)
    again.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    again.eval()
    pose = make_poses(8)
    assert torch.equal(again.energy(pose), trained.energy(pose))
    assert torch.equal(again.reconstruct(pose), trained.reconstruct(pose))
    again.check_finite()


def test_warm_up_rises_with_training_steps_and_resumes() -> None:
    prior = make_config(kl_warmup_steps=4, beta=0.5).build(RIGHT)
    poses = make_poses(8)
    prior.fit_statistics(poses)
    assert [float(prior.loss(poses)["beta"]) for _ in range(3)] == [0.125, 0.25, 0.375]
    prior.eval()
    assert float(prior.loss(poses)["beta"]) == 0.5
    resumed = make_config(kl_warmup_steps=4, beta=0.5).build(RIGHT)
    resumed.load_state_dict(prior.state_dict())
    assert [float(resumed.loss(poses)["beta"]) for _ in range(2)] == [0.5, 0.5]


def test_loss_is_the_weighted_elbo_and_free_bits_cost_nothing() -> None:
    poses = make_poses(64)
    prior = make_config(kl_warmup_steps=0).build(RIGHT)
    prior.fit_statistics(poses)
    values = prior.eval().loss(poses)
    torch.testing.assert_close(values["loss"], values["nll_reconstruction"] + values["kl"])
    free = make_config(kl_warmup_steps=0, free_bits=float(values["kl"])).build(RIGHT)
    free.load_state_dict(prior.state_dict())
    loss = free.eval().loss(poses)
    posterior = prior.encode(poses)
    kl = torch.distributions.kl_divergence(posterior, torch.distributions.Normal(0.0, 1.0)).sum(-1).mean()
    torch.testing.assert_close(values["kl"], kl.detach())
    # each of two dimensions may cost what both do together
    torch.testing.assert_close(loss["loss"], values["nll_reconstruction"] + 2 * values["kl"])


def test_standardisation_is_done_once_and_starts_at_the_data() -> None:
    poses = make_poses(200)
    prior = make_config().build(RIGHT)
    prior.fit_statistics(poses)
    hands = poses[:, list(RIGHT)].flatten(1)
    torch.testing.assert_close(prior.mean, hands.mean(0))
    torch.testing.assert_close(prior.std, hands.std(0, correction=0))
    before = {name: value.clone() for name, value in prior.state_dict().items()}
    prior.fit_statistics(poses)
    assert all(torch.equal(value, before[name]) for name, value in prior.state_dict().items())


def test_constant_components_keep_everything_finite() -> None:
    poses = torch.zeros(32, 55, 3)
    poses[:, list(RIGHT), 2] = torch.randn(32, 15) * 0.3
    prior = train(make_config(kl_warmup_steps=0).build(RIGHT), poses, 20)
    prior.check_finite()
    assert torch.isfinite(prior.energy(make_poses(32))).all()


def test_6d_gives_rotations_and_finite_gradients_for_any_input() -> None:
    x = torch.randn(20, 6, dtype=torch.float64)
    x[:5, 3:] = 2 * x[:5, :3]
    x[5:8] = 0
    x[8:10, :3] = 0
    x[10:12, 3:] = 0
    x.requires_grad_()
    rotation = rotmat_from_6d(x)
    torch.testing.assert_close(rotation @ rotation.mT, torch.eye(3, dtype=torch.float64).expand(20, 3, 3))
    torch.testing.assert_close(torch.linalg.det(rotation), torch.ones(20, dtype=torch.float64))
    (gradient,) = torch.autograd.grad((rotation * torch.randn(20, 3, 3, dtype=torch.float64)).sum(), x)
    assert torch.isfinite(gradient).all()
    truth = roma.random_rotmat(100, dtype=torch.float64)
    there = rotmat_from_6d(truth[..., :2].transpose(-1, -2).flatten(-2))
    assert geodesic_angle(there, truth).max() < 1e-6


def test_yaml_holds_the_stated_defaults() -> None:
    text = (Path(__file__).parents[3] / "configs" / "hand_vae.yaml").read_text()
    config = HandVAEConfig(**yaml.safe_load(text)["model"])
    assert (config.type, config.z_dim, config.hidden, config.n_layers, config.dropout) == ("standard", 24, 256, 3, 0.1)
    assert config == HandVAEConfig(kind="hand_vae")
