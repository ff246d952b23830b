"""People whom the tracker lost, and whom the depth maps still show."""
