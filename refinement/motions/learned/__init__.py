"""What trained priors say of motions: what belongs into their gaps, and how surprising each joint of each frame is."""
