"""A small experiment of two kinds of model, and how tests load it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field, model_validator

from pose_priors.configs.base import Config, UserError
from pose_priors.configs.load import load_config


class Circle(Config):
    kind: Literal["circle"]
    radius: float = Field(1.0, gt=0)


class Box(Config):
    kind: Literal["box", "crate"]
    width: float = 1.0
    corner: Circle | None = None
    holds: list[Annotated[Circle | Box, Field(discriminator="kind")]] = Field(default_factory=list)


class Training(Config):
    learning_rate: float = 1e-3
    batch_size: int = 16
    grad_clip_val: float | None = 1.0


class Data(Config):
    path: str | None = None
    trim: bool = False
    folders: tuple[str, ...] | None = None

    @model_validator(mode="after")
    def _check(self) -> Data:
        if self.trim and self.path is None:
            raise ValueError("trim needs a path")
        return self


class Experiment(Config):
    model: Annotated[Circle | Box, Field(discriminator="kind")]
    data: Data = Data()
    training: Training = Training()
    trainer: dict[str, Any] = Field(default_factory=dict)


BASE = "model: {kind: circle}\n"


def load(tmp_path: Path, text: str, *overrides: str) -> Experiment:
    """The experiment of a YAML file of that text."""
    path = tmp_path / "experiment.yaml"
    path.write_text(text)
    return load_config(Experiment, str(path), overrides)


def refused(tmp_path: Path, text: str, *overrides: str) -> str:
    """The one line by which it is refused."""
    with pytest.raises(UserError) as caught:
        load(tmp_path, text, *overrides)
    message = str(caught.value)
    assert message.isprintable()
    return message
