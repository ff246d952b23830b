"""Standard errors, leads and tables of scores, against scipy, scikit-learn and what chance does."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.stats import ttest_rel
from sklearn.metrics import roc_auc_score
from torch import Tensor

from pose_priors.benchmarks.priors.significance import auroc_by_pose, lead, standard_error
from pose_priors.benchmarks.priors.tables import table_of_scores


def _normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("lower", [True, False])
def test_a_lead_is_sure_where_students_paired_test_is(lower: bool) -> None:
    hard = _normal(7)
    for seed in range(40):
        apart = 0.3 + 0.4 * _normal(7, seed=seed + 1)  # seven poses: Student's test is not the normal one
        scores = {"a": hard, "b": hard + apart if lower else hard - apart}
        found = lead(scores, lower)
        assert found is not None
        test = ttest_rel(scores[found.second], scores[found.first])
        assert found.is_sure == (test.pvalue < 0.05)
        assert abs(test.statistic) == pytest.approx(found.by / found.error)
        assert (found.first == "a") == (float(apart.mean()) > 0)
    assert 0 < sum(lead({"a": hard, "b": hard + 0.3 + 0.4 * _normal(7, seed=seed)}, True).is_sure for seed in range(40)) < 40


def test_the_best_has_to_be_ahead_of_all_others() -> None:
    base = _normal(50)
    close, noisy = base + 0.1 + 0.01 * _normal(50, seed=1), base + 0.3 + 5 * _normal(50, seed=2)
    scores = {"noisy": noisy - noisy.mean() + base.mean() + 0.3, "close": close, "first": base}
    found = lead(scores, True)
    assert found is not None
    assert (found.first, found.second, found.is_sure) == ("first", "close", False)
    assert lead({name: scores[name] for name in ("close", "first")}, True).is_sure
    assert lead({"alone": base}, True) is None
    assert lead({"a": base[:1], "b": close[:1]}, True) is None


def test_what_poses_add_to_the_area_under_the_curve() -> None:
    real, wrong = _normal(60).round(decimals=1), (0.7 + _normal(60, seed=1)).round(decimals=1)  # with ties
    by_pose = auroc_by_pose(real, wrong)
    expected = roc_auc_score([0] * 60 + [1] * 60, torch.cat([real, wrong]).numpy())
    assert float(by_pose.mean()) == pytest.approx(expected)
    pairs = (wrong[None] > real[:, None]).double() + 0.5 * (wrong[None] == real[:, None])
    torch.testing.assert_close(by_pose, pairs.mean(1) + pairs.mean(0) - pairs.mean())


def test_the_standard_error_of_the_area_is_how_far_it_varies_where_wrong_poses_are_made_of_real_ones() -> None:
    areas, told = [], []
    for seed in range(400):
        real = _normal(100, seed=2 * seed)
        by_pose = auroc_by_pose(real, real + 0.5 + 0.5 * _normal(100, seed=2 * seed + 1))
        areas.append(float(by_pose.mean()))
        told.append(standard_error(by_pose))
    varies, mean_told = float(torch.tensor(areas).std()), sum(told) / len(told)
    assert mean_told == pytest.approx(varies, rel=4 / math.sqrt(2 * 400))
    # taken for independent, they would seem to vary more
    apart = [standard_error(auroc_by_pose(_normal(100, seed=s), 0.5 + math.sqrt(1.25) * _normal(100, seed=s + 5000))) for s in range(50)]
    assert sum(apart) / len(apart) > 1.5 * varies


def test_a_table_of_scores_marks_what_is_sure() -> None:
    base = 20 + _normal(400)
    scores = {
        "best": {"sure": base, "unsure": base, "alone": base},
        "other": {"sure": base + 1, "unsure": base + 1e-3 * _normal(400, seed=4), "alone": None},
    }
    table = table_of_scores("key", "Title", scores, "A note.", more={"best": {"worst": 12.0}})
    cells = table.cells()
    assert table.columns == ["sure", "unsure", "alone", "worst"]
    assert cells[0][0] == "best"
    assert cells[0][1] == f"**{float(base.mean()):.2f} ± {float(base.std()) / 20:.2f}**"
    assert cells[1][3:] == ["-", "-"]
    assert not any("**" in cell for cell in (*cells[0][2:], *cells[1]))
    assert cells[2] == ["best ahead of second", "1.000 ± 0.000", cells[2][2], "-", "-"]
    assert table.leads["sure"].second == "other"
    higher = table_of_scores("key", "Title", scores, higher_is_better=True)
    assert higher.cells()[1][1].startswith("**")
    assert higher.leads["sure"].first == "other"
