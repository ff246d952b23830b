"""How a prior is trained, and how that follows the number of rows that there are to learn from."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, Self

from pydantic import Field, PlainValidator, model_validator

from pose_priors.configs.base import Config
from pose_priors.priors.training import schedule
from pose_priors.priors.training.compiling import Compile
from pose_priors.priors.training.precision import MatmulPrecision

Auto = Literal["auto"]
_AUTOMATIC = ("batch_size", "learning_rate", "max_epochs")


def _positive(value: Any) -> Any:
    # by hand: of a union pydantic would tell what each of its members says
    if value == "auto":
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("input should be auto or a number")
    if not 0 < value < math.inf:
        raise ValueError("input should be greater than 0, or auto")
    return value


def _whole(value: Any) -> Any:
    if isinstance(_positive(value), float):
        raise ValueError("input should be auto or a whole number")
    return value


def _positive_or_null(value: Any) -> Any:
    return value if value is None else _positive(value)


class SizeConfig(Config):
    """What `auto` stands for where there are so many rows to learn from."""

    rows: int = Field(ge=1)
    batch_size: int = Field(ge=1)
    learning_rate: float = Field(gt=0)
    max_epochs: float = Field(gt=0)


class TrainingConfig(Config):
    """How a prior is trained."""

    learning_rate: Annotated[Auto | float, PlainValidator(_positive)]
    """A number above 0, or `auto`: by `by_rows`, as for `batch_size` and `max_epochs`."""
    batch_size: Annotated[Auto | int, PlainValidator(_whole)]
    """Rows of a step, on each device."""
    max_epochs: Annotated[Auto | int | float | None, PlainValidator(_positive_or_null)] = None
    """Passes over the rows, whole or not; null where `max_steps` says it all."""
    max_steps: int | None = Field(None, ge=1)
    """Steps of the optimizer at most; takes the place of `max_epochs: auto`, and beside a number of epochs the lesser counts."""
    by_rows: list[SizeConfig] = Field(default_factory=list)
    """What `auto` stands for by the number of rows, in ascending order; between two of them on logarithmic scales."""
    weight_decay: float = Field(0.0, ge=0)
    """Of the matrices of the networks; biases, norms and scales do not decay."""
    grad_clip_val: float | None = Field(1.0, gt=0)
    """Largest norm of the gradient."""
    scheduler_type: schedule.Kind = "cosine"
    warmup_steps: int = Field(0, ge=0)
    """Steps over which the learning rate rises from zero."""
    validation_interval: int = Field(2000, ge=1)
    """Steps after which the run is validated at the latest; at the end of each pass over the rows if that is sooner."""
    validation_rows: int = Field(10_000, ge=1)
    """Of more rows to validate on, so many are drawn by the seed."""
    patience: int = Field(10, ge=1)
    """Validations without a better loss after which training stops."""
    matmul_precision: MatmulPrecision = "auto"
    """How products of float32 matrices are taken: `auto` loses nothing on a CPU and is TensorFloat-32 on a GPU; `highest` is float32."""
    compile: Compile = "auto"
    """Whether torch's compiler makes programs of flows' layers: `auto` does on a CPU, in runs long enough that the minute it takes pays."""
    ema_decay: float = Field(0.0, ge=0, lt=1)
    """Decay per step of the averaged weights that are validated and saved; 0 for none."""
    smoothed_share: float = Field(0.0, ge=0, le=1)
    """Of the rows of each batch: how many are draws from a mixture that was fitted to the training poses, instead of these; 0 for none."""
    save_every_minutes: float = Field(5.0, ge=0)
    """How often the run is saved between two validations."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name in _AUTOMATIC:
            if getattr(self, name) == "auto" and not self.by_rows:
                raise ValueError(f"{name}=auto needs by_rows, which says what that is; give a number")
        if self.max_epochs is None and self.max_steps is None:
            raise ValueError("give max_epochs or max_steps")
        if any(a.rows >= b.rows for a, b in zip(self.by_rows, self.by_rows[1:], strict=False)):
            raise ValueError("rows of by_rows should ascend")
        return self

    def for_rows(self, num_rows: int) -> TrainingConfig:
        """The same with numbers in the place of `auto`, for so many rows to learn from."""
        automatic = [name for name in _AUTOMATIC if getattr(self, name) == "auto"]
        if not automatic:
            return self.model_copy(update={"by_rows": []})
        found = _between(self.by_rows, num_rows)
        values: dict[str, Any] = {"by_rows": []} | {name: getattr(found, name) for name in automatic}
        if self.max_steps is not None and "max_epochs" in values:
            values["max_epochs"] = None
        return self.model_copy(update=values)


def _between(sizes: list[SizeConfig], num_rows: int) -> SizeConfig:
    """The sizes' settings at a number of rows: straight lines between the logarithms, rounded to what can be told in a line."""
    if num_rows <= sizes[0].rows or num_rows >= sizes[-1].rows:
        return sizes[0] if num_rows <= sizes[0].rows else sizes[-1]
    below = max(i for i, size in enumerate(sizes) if size.rows <= num_rows)
    a, b = sizes[below], sizes[below + 1]
    share = math.log(num_rows / a.rows) / math.log(b.rows / a.rows)

    def at(name: str) -> float:
        return float(getattr(a, name) ** (1 - share) * getattr(b, name) ** share)

    return SizeConfig(
        rows=num_rows,
        batch_size=max(1, round(at("batch_size") / 8) * 8) if at("batch_size") >= 8 else round(at("batch_size")),
        learning_rate=float(f"{at('learning_rate'):.2g}"),
        max_epochs=float(f"{at('max_epochs'):.2g}"),
    )
