"""What SMPL-X is: names, kinematic tree, rotation conventions, and bodies with or without a model file."""

import pose_priors  # noqa: F401  (whoever imports this room without its prefix, in a checkout, gets the same modules)
