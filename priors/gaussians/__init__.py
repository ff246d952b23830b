"""Mixtures of Gaussians over rotation vectors: how they are fitted, and what follows from them in closed form."""
