from __future__ import annotations

import pytest
import torch

from pose_priors.priors.training.schedule import of_steps, replayed


@pytest.mark.parametrize("kind", ["step", "cosine"])
@pytest.mark.parametrize("num_warmup", [0, 3])
def test_a_replayed_schedule_goes_on_as_one_that_was_there_from_the_start(kind: str, num_warmup: int) -> None:
    def optimizer() -> torch.optim.Optimizer:
        return torch.optim.SGD([torch.zeros(1)], lr=0.1)

    whole, late = optimizer(), optimizer()
    schedule, resumed = (of_steps(o, kind, 20, num_warmup) for o in (whole, late))
    rates = []
    for step in range(20):
        rate, state = replayed(0.1, kind, 20, num_warmup, step)
        assert rate == whole.param_groups[0]["lr"]
        resumed.load_state_dict(state)
        late.param_groups[0]["lr"] = rate
        for o, s in ((whole, schedule), (late, resumed)):
            o.step()
            s.step()
        assert late.param_groups[0]["lr"] == whole.param_groups[0]["lr"]
        rates.append(rate)
    assert rates[-1] < 0.01 * max(rates) or kind == "step"
    assert max(rates) == pytest.approx(0.1)
