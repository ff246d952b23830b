"""Lightning's Trainer with options of the user's."""

from __future__ import annotations

from typing import Any

import pytest

from pose_priors.configs.base import UserError
from pose_priors.configs.fitting import make_trainer


def test_options_and_what_the_program_says_both_count() -> None:
    trainer = make_trainer({"accelerator": "cpu", "devices": 1}, max_epochs=3, logger=False)
    assert trainer.max_epochs == 3
    assert trainer.num_devices == 1


@pytest.mark.parametrize("options", [{"acelerator": "cpu"}, {"accelerator": "abacus"}, {"precision": "7-bit"}, {"max_epochs": 4}])
def test_what_lightning_refuses_is_one_line_that_names_it(options: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=rf"trainer .*{next(iter(options))}.* refused by Lightning") as caught:
        make_trainer(options, max_epochs=3, logger=False)
    assert "\n" not in str(caught.value)
