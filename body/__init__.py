"""What SMPL-X is: names, kinematic tree, rotation conventions, and bodies with or without a model file."""
