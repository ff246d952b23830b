"""Refined people as files of other tools: SMPL-X motions in AMASS's layout, glTF and BVH."""
