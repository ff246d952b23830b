"""The page of benchmarks: every command and every program is run, from the first to the last, scaled down."""

from __future__ import annotations

from followed import to_their_ends

test_a_page_is_followed_to_its_end = to_their_ends("benchmarks")
