"""What a file of a prior says of itself, checked in one place: checkpoints say it in a pickle, folders of weights in `config.json`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field, ValidationError

from pose_priors.body.skeleton import JOINT_NAMES
from pose_priors.configs.base import Config


def _distinct(joints: list[str]) -> list[str]:
    if unknown := [name for name in joints if name not in JOINT_NAMES]:
        raise ValueError(f"there is no joint {', '.join(unknown[:9])}")
    if twice := sorted({name for name in joints if joints.count(name) > 1}):
        raise ValueError(f"{', '.join(twice)} more than once")
    return joints


Joints = Annotated[list[str], AfterValidator(_distinct)]
"""Names of SMPL-X's joints that carry a density, each once; none of a prior of motions, which has all of the body's."""


class _Section(Config):
    """A part of a configuration of any version: what is read of it is checked, the rest is kept."""

    model_config = ConfigDict(extra="allow")


class ModelSection(_Section):
    """Kind and hyperparameters; these are checked by the config of the kind."""

    kind: str


class _DataSection(_Section):
    """Where the data come from."""

    path: str | None = None
    train: str | None = None
    val: str | None = None
    test: str | None = None
    licence: str | None = None
    include_root: bool = False


class _TrainingSection(_Section):
    """How it was trained."""

    batch_size: Annotated[int, Field(ge=1)] | Literal["auto"] | None = None


class Sections(_Section):
    """The configuration that a prior was trained by, without its model."""

    data: _DataSection | None = None
    training: _TrainingSection | None = None
    logging: dict[str, Any] | None = None
    trainer: dict[str, Any] | None = None
    slurm: dict[str, Any] | None = None
    seed: int = Field(0, ge=0, lt=2**32)


class _Experiment(Sections):
    """The whole of it."""

    model: ModelSection


class Description(_Section):
    """What the entry `prior` of a checkpoint holds."""

    format: int
    code_version: str
    """Of the pose-priors that trained it."""
    joints: Joints
    data_fingerprint: str
    experiment: _Experiment


class _Change(Config):
    """Settings with which a run went on from a checkpoint, by dotted path: before and now."""

    step: int = Field(ge=0)
    epoch: int = Field(ge=0)
    changed: dict[str, list[Any]]


class Trained(Config):
    """How training ended, as far as a checkpoint says."""

    global_step: int = Field(0, ge=0)
    epoch: int = Field(0, ge=0)
    schedule: dict[str, int] = Field(default_factory=dict)
    history: list[_Change] = Field(default_factory=list)
    best_scores: dict[str, float] = Field(default_factory=dict)
    command: str | None = None

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> Trained:
        """What a checkpoint says; what it does not say is as if it had not begun."""
        return cls.model_validate(cls.said(content))

    @classmethod
    def said(cls, content: Mapping[str, Any]) -> dict[str, Any]:
        """The part of a checkpoint that says it, unchecked."""
        return {name: content[name] for name in cls.model_fields if content.get(name) is not None}


def in_words(error: ValidationError) -> str:
    """What does not fit, on a line of moderate length, without the names of all that it might have been."""
    return "; ".join(f"{'.'.join(map(str, found['loc']))}: {found['msg']}" for found in error.errors())[:300]
