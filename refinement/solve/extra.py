"""Terms that a configuration adds to sub-stages: ours by their names, those of other packages through the door."""

from __future__ import annotations

import re
from typing import Literal, TypeGuard

from pydantic import ConfigDict, Field, model_validator

from pose_priors.configs.base import Config
from pose_priors.configs.plugins import Door, PluginError, is_config
from pose_priors.refinement.solve.terms import NAMED, Term

StageName = Literal["root", "smpl", "motion", "environmental", "scale", "final"]
_TOTAL = "total"  # what the weighted sum is logged as


def _is_term(found: object) -> TypeGuard[type[Term]]:
    if not is_config(found, Term):  # type: ignore[type-abstract]  # an abstract base is what is asked about
        return False
    name = getattr(found, "name", None)
    return isinstance(name, str) and re.fullmatch(r"\w+", name) is not None and name != _TOTAL


TERMS: Door[type[Term]] = Door(
    "pose_priors.terms", "term", "a strict and frozen subclass of pose_priors.refinement.solve.terms.Term with a name", _is_term
)
"""Loss terms that live in other packages."""


class ExtraTerm(Config):
    """One more term, whose own fields stand beside these."""

    model_config = ConfigDict(extra="allow")

    kind: str
    """One of ours by the name that it is logged under, an entry point's name, or `module:Class`."""
    weight: float = Field(gt=0)
    """Multiplies the term; nats per person and frame weigh about one."""
    stages: list[StageName] | None = None
    """The sub-stages in which it pulls, as far as they are enabled; null for all."""

    @property
    def term(self) -> Term:
        """The term itself."""
        return self._term_class().model_validate(self.model_extra)

    def pulls_in(self, stage: str) -> bool:
        """Whether it belongs to a sub-stage."""
        return self.stages is None or stage in self.stages

    @model_validator(mode="after")
    def _check_term(self) -> ExtraTerm:
        try:
            term = self._term_class()
        except PluginError as error:
            raise ValueError(f"kind: {error}") from error
        if unknown := [name for name in self.model_extra or {} if name not in term.model_fields]:
            allowed = ", ".join([*ExtraTerm.model_fields, *term.model_fields])
            raise ValueError(f"{unknown[0]}: unknown key; allowed for {self.kind}: {allowed}")
        term.model_validate(self.model_extra)
        return self

    def _term_class(self) -> type[Term]:
        return NAMED[self.kind] if self.kind in NAMED and self.kind not in TERMS.names() else TERMS.find(self.kind, NAMED)
