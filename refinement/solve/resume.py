"""Which unfinished run a checkpoint belongs to."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pose_priors.refinement.given.problem import Problem
from pose_priors.refinement.solve.config import RefinementConfig

log = logging.getLogger("refine")


def fingerprint(problem: Problem, config: RefinementConfig, priors: Sequence[nn.Module | None]) -> str:
    """Names a problem, a configuration and the priors, so that a run is never resumed with others."""
    digest = hashlib.sha256(config.model_dump_json().encode())
    _add(problem, digest)
    for prior in priors:
        _add({} if prior is None else prior.state_dict(), digest)
    return digest.hexdigest()


def kept_run(checkpoint: Path, name: str) -> dict[str, Any] | None:
    """What is kept of an unfinished run of that fingerprint; None where nothing is, or nothing that can be read."""
    if not checkpoint.is_file():
        return None
    try:
        content: dict[str, Any] = torch.load(checkpoint, map_location="cpu", weights_only=True)
        return content if content["refinement"]["fingerprint"] == name else None
    except Exception:
        log.warning("%s: cannot be read; the refinement starts anew", checkpoint)
        return None


def _add(value: Any, digest: Any) -> None:
    if isinstance(value, Tensor):
        digest.update(f"{value.dtype}{tuple(value.shape)}".encode() + value.cpu().numpy().tobytes())
    elif dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            _add(getattr(value, field.name), digest)
    elif isinstance(value, dict):
        for key, entry in value.items():
            digest.update(str(key).encode())
            _add(entry, digest)
    else:
        digest.update(repr(value).encode())
