"""The prior of whole clips: flow matching over windows of motions, around a Gaussian process in closed form."""
