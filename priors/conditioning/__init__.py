"""What draws and densities of joints are conditioned on: other joints, and angles no larger than pi."""
