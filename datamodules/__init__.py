"""Where poses come from: files of the field, or the built-in source; converted once, split without leaks, served in batches."""

import pose_priors  # noqa: F401  (whoever imports this room without its prefix, in a checkout, gets the same modules)
