"""Priors of motions: how a body goes on from one frame to the next."""
