"""From the outputs of a video pipeline to people who stand on one floor, in metres."""

import pose_priors  # noqa: F401  (whoever imports this room without its prefix, in a checkout, gets the same modules)
