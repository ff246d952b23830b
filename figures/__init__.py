"""Pictures of poses, priors and refined clips. The one room that imports matplotlib."""

from matplotlib.figure import Figure

__all__ = ["Figure"]
