"""What `quality` of a result says, in words for tables and pages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pose_priors.configs.base import UserError
from pose_priors.refinement.formats.files import read_json
from pose_priors.refinement.result.write import RESULTS

_ORDER = ("poor", "check", "good", "")


@dataclass(frozen=True)
class Told:
    """A verdict and why.

    Attributes:
        verdict: good, check or poor; empty where a result says nothing, as those of older versions.
        reasons: one line each, none of what is good.
    """

    verdict: str = ""
    reasons: tuple[str, ...] = ()

    @property
    def rank(self) -> int:
        """0 for what needs a look most."""
        return _ORDER.index(self.verdict)

    def markdown(self) -> list[str]:
        """Lines for a legend; none where nothing is said."""
        return [f"quality: **{self.verdict}**", "", *(f"- quality: {reason}" for reason in self.reasons)] if self.verdict else []


def told_by(results: Mapping[str, Any]) -> Told:
    """The verdict in the content of `refinement_results.json`; what is no such thing says nothing."""
    quality = results.get("quality")
    if not isinstance(quality, Mapping) or quality.get("verdict") not in _ORDER[:3]:
        return Told()
    reasons = quality.get("reasons")
    return Told(str(quality["verdict"]), tuple(map(str, reasons)) if isinstance(reasons, list) else ())


def told_in(folder: Path) -> Told:
    """The same of a folder of stage 5; nothing where it cannot be read."""
    try:
        results = read_json(folder / RESULTS)
    except UserError:
        return Told()
    return told_by(results) if isinstance(results, Mapping) else Told()
