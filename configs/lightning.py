"""The Trainer with options of the user's: what Lightning refuses is a mistake that the user can mend."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl
from lightning_fabric.utilities.exceptions import MisconfigurationException

from pose_priors.configs.base import UserError


def make_trainer(options: Mapping[str, Any], **fixed: Any) -> pl.Trainer:
    """A Trainer.

    Args:
        options: the section `trainer` of a configuration, with defaults for what it does not say.
        fixed: what the program itself says, and no option may say.
    Raises:
        UserError: if Lightning refuses them, or an option says what is fixed.
    """
    try:
        return pl.Trainer(**options, **fixed)
    except (MisconfigurationException, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"trainer {dict(options)}: refused by Lightning's Trainer, which its keys are passed to ({reason})") from error
