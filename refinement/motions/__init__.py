"""Motions without a camera: what is wrong with a clip and where, and the clip without it."""
