"""The strict, frozen model that every configuration object derives from, and the one error that a user is meant to see."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class UserError(Exception):
    """A mistake that the user can mend: a bad config, file, format or checkpoint.

    Its message is one line that says what was found, where, what is allowed and what to do. The scripts print it and exit with code 2.
    """


class Config(BaseModel):
    """A piece of configuration: unknown keys are refused, types are not coerced, and nothing changes after validation."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)
