"""The page of results: every command and every program is run, from the first to the last, scaled down."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from followed import Followed
from not_followed import GROUPS


@pytest.mark.parametrize("page", GROUPS["results"])
def test_a_page_is_followed_to_its_end(page: str, follow_to_the_end: Callable[[str], Followed]) -> None:
    done = follow_to_the_end(page)
    assert done.num_run + done.num_listed > 0
