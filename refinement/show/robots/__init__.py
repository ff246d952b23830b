"""Robots that a person's motion was carried to: their URDF, their motion, and where their parts are on each frame."""
