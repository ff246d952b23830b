"""Motions of the field's files, read so that they can be written again in the layout that they came in."""
