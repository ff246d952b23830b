"""Pictures of poses, priors and refined clips. The one room that imports matplotlib."""
