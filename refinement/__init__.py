"""From the outputs of a video pipeline to people who stand on one floor, in metres."""
