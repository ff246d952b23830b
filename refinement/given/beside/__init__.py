"""What other programs found of a clip, beside the tool that found its people: cameras, which way is up, when feet touch."""
