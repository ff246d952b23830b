"""Exported programs against the checkpoints that they come from, run by processes that have torch alone or onnxruntime alone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from prior_cases import make_poses, random_rotations, trained
from torch import Tensor

from pose_priors import load_prior
from pose_priors.configs import command
from pose_priors.configs.base import UserError
from pose_priors.priors.base import Prior, PriorConfigBase
from pose_priors.priors.checkpoint import describe
from pose_priors.priors.denoising.denoiser import DenoiserConfig
from pose_priors.priors.exporting.__main__ import export_model
from pose_priors.priors.exporting.formats import ENDINGS, METADATA, write_program
from pose_priors.priors.exporting.programs import programs_of
from pose_priors.priors.exporting.tracing import trace
from pose_priors.priors.flow_matching import FlowMatchingConfig
from pose_priors.priors.gaussian import GaussianConfig
from pose_priors.priors.global_flow import GlobalFlowConfig
from pose_priors.priors.joint_flow import JointFlowConfig
from pose_priors.priors.mixture import MixtureConfig
from pose_priors.priors.networks.mixture_velocity import MixtureVelocityConfig

JOINTS = (1, 2, 4)
MIXTURE = MixtureConfig(kind="mixture", num_components=[2], widths=[0.6, 1.0], covariance_floors=[1e-4])
KINDS: dict[str, PriorConfigBase] = {
    "gaussian": GaussianConfig(kind="gaussian", covariance="full"),
    "mixture": MIXTURE,
    "joint_flow": JointFlowConfig(kind="joint_flow", hidden=8, K=2, num_blocks=0, transform="affine"),
    "global_flow": GlobalFlowConfig(kind="global_flow", hidden=8, K=1, num_blocks=0, transform="spline"),
    "flow_matching": FlowMatchingConfig(
        kind="flow_matching",
        hidden=8,
        num_blocks=1,
        num_steps=1,
        num_draws=2,
        mixture=MixtureVelocityConfig(num_components=[2], widths=[0.6, 1.0], share=0.4),
        denoiser=DenoiserConfig(hidden=8, num_blocks=1, num_networks=2, mixture=None),
    ),
}
# What a process is told that has no library but one, and not this project.
ALONE = """
import json, sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {hidden!r}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Blocked())
import numpy as np
given = np.load("given.npz")
{run}
results = {{}}
for key in given.files:
    kind, name = key.split("/")
    for number, value in enumerate(run(f"{{kind}}/{{name}}", given[key])):
        results[f"{{key}}/{{number}}"] = np.asarray(value)
np.savez({results!r}, **results)
assert not [name for name in sys.modules if name.split(".")[0] in {hidden!r}]
"""
RUN = {
    "torch": """
import torch
def run(path, x):
    return [value.numpy() for value in torch.export.load(path + ".pt2").module()(torch.from_numpy(x))]
""",
    "onnx": """
import onnxruntime
def run(path, x):
    session = onnxruntime.InferenceSession(path + ".onnx", providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x})
""",
}
OURS = {"pose_priors", "priors", "body", "configs", "nflows", "roma", "pydantic"}


def checkpoint(path: Path, prior: Prior, config: PriorConfigBase) -> Path:
    """One as `train.py` leaves it."""
    entry = describe(prior, {"model": config.model_dump(mode="json"), "data": {"path": "built_in"}}, "abc")
    torch.save({"prior": entry, "state_dict": {f"prior.{name}": value for name, value in prior.state_dict().items()}}, path)
    return path


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a checkpoint of each kind, and programs of it in a folder of its name: all in ONNX, energies in torch's format. Of the
    Gaussian all, by the command."""
    folder = tmp_path_factory.mktemp("exported")
    poses = make_poses(200)
    for kind, config in KINDS.items():
        prior = trained(config, JOINTS, 2, poses, poses).requires_grad_(False)
        path = checkpoint(folder / f"{kind}.ckpt", prior, config)
        if kind == "gaussian":
            for of in ENDINGS:
                command._dispatch(["export-model", str(path), "--format", of, "--output", str(folder / kind)])
            continue
        (folder / kind).mkdir()
        for program in programs_of(prior, None)[0]:
            for of in ENDINGS if program.name == "energy" else ["onnx"]:
                write_program(program, folder / kind / f"{program.name}{ENDINGS[of]}", of, {})
    return folder


def inputs(prior: Prior, name: str) -> Tensor:
    """Of other numbers of rows than programs are traced with: poses as data are, any rotations, far ones, none at all; or noise."""
    if name == "sample":
        return torch.randn(40, prior.num_noise, generator=torch.Generator().manual_seed(3))  # type: ignore[attr-defined]
    return torch.cat([make_poses(6, seed=3), random_rotations(6), 9 * random_rotations(2, seed=1), torch.zeros(1, 55, 3)])


def expected(prior: Prior, name: str, given: Tensor) -> list[Tensor]:
    """What the checkpoint itself says, by its public methods."""
    if name == "energy":
        pose = given.clone().requires_grad_()
        energy = prior.energy(pose)
        return [energy.detach(), torch.autograd.grad(energy.sum(), pose)[0]]
    if name == "sample":
        rotvec = prior.from_noise(given)  # type: ignore[attr-defined]
        return [prior.expand(rotvec), rotvec.norm(dim=-1).le(torch.pi).all(-1)]
    return [prior.denoise(given, float(name.split("_")[1]))]


@pytest.mark.slow
@pytest.mark.parametrize("of", ENDINGS)
def test_programs_say_what_the_checkpoint_says_where_there_is_nothing_else(of: str, exported: Path) -> None:
    priors = {kind: load_prior(exported / f"{kind}.ckpt") for kind in KINDS}
    names = {kind: sorted(path.stem for path in (exported / kind).glob(f"*{ENDINGS[of]}")) for kind in KINDS}
    given = {f"{kind}/{name}": inputs(priors[kind], name) for kind in KINDS for name in names[kind]}
    np.savez(exported / "given.npz", **{key: value.numpy() for key, value in given.items()})
    hidden = OURS | ({"torch"} if of == "onnx" else set())
    code = ALONE.format(hidden=hidden, run=RUN[of], results=f"{of}.npz")
    done = subprocess.run([sys.executable, "-I", "-c", code], cwd=exported, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = np.load(exported / f"{of}.npz")
    assert {key.rsplit("/", 1)[0] for key in found.files} == {*given}
    for key, value in given.items():
        kind, name = key.split("/")
        for number, wanted in enumerate(expected(priors[kind], name, value)):
            off = np.abs(found[f"{key}/{number}"].astype(float) - wanted.numpy().astype(float))
            assert (off <= 1e-4 * np.maximum(1, np.abs(wanted.numpy()))).all(), (key, number, off.max())


def test_each_kind_has_the_programs_that_it_can_have(exported: Path) -> None:
    found = {kind: {path.stem for path in (exported / kind).glob("*.onnx")} for kind in KINDS}
    assert found == {
        "gaussian": {"energy", "denoise_0.1", "sample"},
        "mixture": {"energy", "denoise_0.1"},
        "joint_flow": {"energy", "sample"},
        "global_flow": {"energy", "sample"},
        "flow_matching": {"energy", "denoise_0.1", "sample"},
    }


def test_files_say_what_they_are(exported: Path) -> None:
    onnx = pytest.importorskip("onnx")
    model = onnx.load(exported / "gaussian" / "energy.onnx")
    onnx.checker.check_model(model)
    extra: dict[str, Any] = {METADATA: ""}
    torch.export.load(exported / "gaussian" / "energy.pt2", extra_files=extra)
    for text in (extra[METADATA], {entry.key: entry.value for entry in model.metadata_props}[METADATA]):
        said = json.loads(text)
        assert said["kind"] == "gaussian"
        assert said["joints"] == ["left_hip", "right_hip", "left_knee"]
        assert len(said["joint_order"]) == 55
        assert said["energy_is_nll"] is True
        assert said["card"] == (exported / "gaussian" / "card.md").read_text()
        assert "radians" in said["pose"]
    assert [size.dim_param or size.dim_value for size in model.graph.input[0].type.tensor_type.shape.dim] == ["batch", 55, 3]


def test_nothing_of_this_machine_is_in_the_files(exported: Path) -> None:
    here = str(Path(__file__).parents[3]).encode()
    for path in [*exported.glob("*/*.pt2"), *exported.glob("*/*.onnx")]:
        assert here not in path.read_bytes(), path


def test_noise_is_chosen(exported: Path) -> None:
    found, _ = programs_of(load_prior(exported / "gaussian.ckpt"), [0.02, 0.3])
    assert [(program.name, program.std) for program in found if program.std] == [("denoise_0.02", 0.02), ("denoise_0.3", 0.3)]


@pytest.mark.parametrize(("kind", "std", "complaint"), [("joint_flow", 0.1, "trained without a denoiser"), ("gaussian", -1.0, "above 0")])
def test_noise_that_cannot_be_is_refused(kind: str, std: float, complaint: str, exported: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=complaint):
        export_model(exported / f"{kind}.ckpt", "torch", tmp_path / "out", [std])
    assert not list(tmp_path.glob("out/*"))


def test_writing_into_a_part_is_refused_and_not_lost() -> None:
    pytest.importorskip("onnx")
    from pose_priors.priors.exporting.onnx_operators import HANDLERS
    from pose_priors.priors.exporting.onnx_writer import OnnxWriter

    def function(x: Tensor) -> tuple[Tensor]:
        y = x.clone()
        y[:, :1] *= 2
        return (y,)

    graph = trace(function, (torch.randn(97, 3),), into_core=True)
    with pytest.raises(UserError, match="writes into a part"):
        OnnxWriter(HANDLERS).write(graph, ["x"], ["y"], {})


def test_what_onnx_lacks_is_refused_in_a_line(exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pose_priors.priors.exporting import onnx_operators

    lacking = {operation: handler for operation, handler in onnx_operators.HANDLERS.items() if "index_select" not in str(operation)}
    monkeypatch.setattr(onnx_operators, "HANDLERS", lacking)
    with pytest.raises(
        UserError, match=r"aten\.index_select\.default of this prior has no counterpart in ONNX; export it with --format torch"
    ):
        export_model(exported / "gaussian.ckpt", "onnx", tmp_path / "out")
    assert not list(tmp_path.glob("out/*"))
