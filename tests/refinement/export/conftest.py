"""Results to be exported."""

from __future__ import annotations

import pytest
from export_results import Result, make_result


@pytest.fixture(scope="session")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Result]:
    """One of each kind of body, not to be written to."""
    return {kind: make_result(tmp_path_factory.mktemp("results") / "clip", kind) for kind in (22, 24, 55)}
