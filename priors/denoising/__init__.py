"""Poses seen with known noise: networks that are told it and say what is expected of the poses, and the energies that follow."""
