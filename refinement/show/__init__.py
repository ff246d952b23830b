"""Refined sequences to be looked at: recordings for rerun, and a page on which many are reviewed."""
