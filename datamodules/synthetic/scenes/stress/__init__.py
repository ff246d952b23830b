"""Scenes with errors that are no white noise: one family for each assumption of the refinement that real pipelines break."""
