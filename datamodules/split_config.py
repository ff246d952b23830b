"""Where data come from, and what is held out: what the data of poses and of motions are told alike."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from pose_priors.configs.base import BUILT_IN, Config


class SplitConfig(Config):
    """Paths of the splits, a file, a folder or a glob each, or `built_in` for the pool, and shares of those that are cut out of it."""

    path: str | None = None
    train: str | None = None
    val: str | None = None
    test: str | None = None
    val_fraction: float = Field(0.1, gt=0, lt=1)
    test_fraction: float = Field(0.1, gt=0, lt=1)
    licence: str | None = None
    """Of the data, in words: it is kept in the checkpoint and stands on its card."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.path is not None and self.train is not None:
            raise ValueError("path and train are both given; path is the pool to split, train one that is split already: give one of them")
        if split := next((name for name in ("train", "val", "test") if getattr(self, name) == BUILT_IN), None):
            raise ValueError(
                f"{split} is {BUILT_IN}, a source that is split here: give it as path, or ./{BUILT_IN} for a folder of that name"
            )
        if self.path is None and self.train is None and (self.val is not None or self.test is not None):
            raise ValueError("val or test is given without path or train to learn from")
        if self.val_fraction + self.test_fraction >= 1:
            raise ValueError("val_fraction and test_fraction leave nothing to learn from; their sum has to be below 1")
        return self

    @property
    def pool(self) -> str | None:
        """What the splits that are not given are cut out of; None for the built-in source."""
        given = self.path if self.path is not None else self.train
        return None if given == BUILT_IN else given

    @property
    def held_out(self) -> dict[Literal["val", "test"], str]:
        """The paths of validation and test, where they are given."""
        given: dict[Literal["val", "test"], str | None] = {"val": self.val, "test": self.test}
        return {split: path for split, path in given.items() if path is not None}
