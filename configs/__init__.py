"""Experiments as data: one short YAML each, validated into frozen objects before anything else runs."""

import pose_priors  # noqa: F401  (whoever imports this room without its prefix, in a checkout, gets the same modules)
