"""The curvature of a sub-stage's objective, and coordinates in which it is the same in every direction."""
