"""Priors of other packages: from a YAML, into a checkpoint and out of it, and never by a file's word alone."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from prior_cases import make_poses
from torch import Tensor

from pose_priors.configs.base import UserError
from pose_priors.configs.schema import ForeignExperimentConfig, load_experiment
from pose_priors.priors import KINDS, load_prior
from pose_priors.priors.base import Prior, PriorConfigBase
from pose_priors.priors.checkpoint import describe
from pose_priors.priors.foreign import PRIORS

Install = Callable[..., Path]


class FlatConfig(PriorConfigBase):
    slope: float = 1.0
    mode: Literal["up", "down"] = "up"

    def build(self, joint_indices: Sequence[int]) -> Flat:
        return Flat(self, joint_indices)


class Flat(Prior):
    """The angles of all joints."""

    def __init__(self, config: FlatConfig, joint_indices: Sequence[int]) -> None:
        super().__init__(joint_indices)
        self.config = config
        self.weight = torch.nn.Parameter(torch.ones(()))

    def energy(self, pose: Tensor) -> Tensor:
        return self.weight * self.config.slope * self.select(pose).square().sum((-1, -2))

    def loss(self, pose: Tensor) -> dict[str, Tensor]:
        return {"loss": self.energy(pose).mean()}

    def sample(self, num_samples: int, generator: torch.Generator | None = None) -> Tensor:
        return self.expand(torch.zeros(num_samples, self.num_joints, 3))

    def reconstruct(self, pose: Tensor) -> Tensor:
        return pose


HERE = f"{__name__}:FlatConfig"
MARKED = "from pathlib import Path\nPath({marker!r}).touch()\nfrom " + __name__ + " import FlatConfig\n"


def _checkpoint(path: Path, kind: str, **options: Any) -> Path:
    prior = FlatConfig(kind=kind).build((1, 16))
    prior.fit_statistics(make_poses(10))
    experiment = {"model": {"kind": kind, **options}, "seed": 0}
    weights = {f"prior.{name}": value for name, value in prior.state_dict().items()}
    torch.save({"state_dict": weights, "prior": describe(prior, experiment, "0123456789abcdef")}, path)
    return path


def _refused(call: Callable[[], object]) -> str:
    with pytest.raises(UserError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    return message


def _experiment(tmp_path: Path, *overrides: str, kind: str = HERE) -> Any:
    path = tmp_path / "flat.yaml"
    path.write_text(f"model: {{kind: '{kind}'}}\ntraining: {{learning_rate: 0.1, batch_size: 8, max_epochs: 1}}\n")
    return load_experiment(str(path), overrides)


def test_an_experiment_holds_the_config_whole(tmp_path: Path) -> None:
    config = _experiment(tmp_path, "model.slope=2.5", "model.mode=down", "data.num_poses=50")
    assert type(config) is ForeignExperimentConfig
    assert config.model == FlatConfig(kind=HERE, slope=2.5, mode="down")
    assert config.data.num_poses == 50
    assert config.model_dump(mode="json")["model"] == {"kind": HERE, "slope": 2.5, "mode": "down"}
    assert pickle.loads(pickle.dumps(config)) == config  # into a job


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("model.slop=1", "unknown key; did you mean slope? allowed here: kind, slope, mode"),
        ("model.slope=steep", "valid number"),
        ("model.mode=left", "'up' or 'down'"),
        ("modle.slope=1", "modle: unknown key; did you mean model?"),
        ("data.num_poses=-1", "greater than 0"),
        (f"model.kind={__name__}:Flat", "model.kind: "),
        (f"model.kind={__name__}:NoConfig", "model.kind: "),
        ("model.kind=no_such_package:Config", "model.kind: no_such_package: no such module"),
    ],
)
def test_mistakes_are_told_as_those_of_ours(tmp_path: Path, override: str, told: str) -> None:
    message = _refused(lambda: _experiment(tmp_path, override))
    assert message.startswith(f"--override {override}: ")
    assert told in message


@pytest.mark.parametrize("kind", ["flt", "null", "[1]"])
def test_a_kind_of_nobodys_lists_all_kinds(tmp_path: Path, install: Install, kind: str) -> None:
    install("flat-priors", {}, {PRIORS.group: {"flat": HERE}})
    message = _refused(lambda: _experiment(tmp_path, f"model.kind={kind}"))
    assert all(name in message for name in (*KINDS, "flat", "module:Class"))


def test_a_name_of_ours_stays_ours(tmp_path: Path, install: Install) -> None:
    install("flat-priors", {}, {PRIORS.group: {"gaussian": HERE}})
    message = _refused(lambda: _experiment(tmp_path, kind="gaussian"))
    assert "flat-priors" in message
    message = _refused(lambda: load_prior(_checkpoint(tmp_path / "best.ckpt", "gaussian")))
    assert "does not fit its own description" in message  # it is read as our Gaussian


def test_a_checkpoint_of_what_is_imported_comes_back_as_it_was(tmp_path: Path) -> None:
    prior = load_prior(_checkpoint(tmp_path / "best.ckpt", HERE, slope=3.0))
    assert isinstance(prior, Flat)
    assert prior.config == FlatConfig(kind=HERE, slope=3.0)
    assert not prior.training
    assert not prior.weight.requires_grad
    assert "slop" in _refused(lambda: load_prior(_checkpoint(tmp_path / "other.ckpt", HERE, slop=3.0)))


def test_a_checkpoint_imports_nothing_by_its_word_alone(tmp_path: Path, install: Install) -> None:
    marker = tmp_path / "imported"
    install("their-priors", {"their_priors/__init__.py": "", "their_priors/flat.py": MARKED.format(marker=str(marker))})
    path = _checkpoint(tmp_path / "best.ckpt", "their_priors.flat:FlatConfig")
    message = _refused(lambda: load_prior(path))
    assert str(path) in message
    assert "load_prior(path, allow='their_priors')" in message
    assert "train it again" not in message
    assert not marker.exists()
    assert not any(name.startswith("their_priors") for name in sys.modules)
    assert isinstance(load_prior(path, allow="their_priors"), Flat)
    assert isinstance(load_prior(path), Flat)  # imported already


def test_whoever_installs_an_entry_point_has_allowed_it(tmp_path: Path, install: Install) -> None:
    files = {"their_priors/__init__.py": "", "their_priors/flat.py": f"from {__name__} import FlatConfig\n"}
    install("their-priors", files, {PRIORS.group: {"flat": "their_priors.flat:FlatConfig"}})
    for kind in ("flat", "their_priors.flat:FlatConfig"):
        prior = load_prior(_checkpoint(tmp_path / "best.ckpt", kind))
        assert isinstance(prior, Flat)
        assert prior.config.kind == kind


def test_what_lies_beside_a_checkpoint_is_never_imported(tmp_path: Path) -> None:
    marker = tmp_path / "imported"
    (tmp_path / "beside_it.py").write_text(MARKED.format(marker=str(marker)))
    path = _checkpoint(tmp_path / "best.ckpt", "beside_it:FlatConfig")
    assert "allow" in _refused(lambda: load_prior(path))
    assert "beside_it: no such module" in _refused(lambda: load_prior(path, allow="beside_it"))
    assert not marker.exists()


@pytest.mark.parametrize("kind", ["os:system", "torch.hub:load", "subprocess:Popen", "pose_priors.priors.gaussian:Gaussian"])
def test_what_is_no_config_of_a_prior_is_not_called(tmp_path: Path, kind: str) -> None:
    assert "is wanted" in _refused(lambda: load_prior(_checkpoint(tmp_path / "best.ckpt", kind), allow=["os", "torch", "subprocess"]))


@pytest.mark.parametrize("kind", ["/tmp/x.py:FlatConfig", "../x:FlatConfig", "x\ny", "", "flat"])
def test_paths_and_unknown_names_are_refused(tmp_path: Path, kind: str) -> None:
    message = _refused(lambda: load_prior(_checkpoint(tmp_path / "best.ckpt", kind)))
    assert all(name in message for name in KINDS)
