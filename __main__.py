"""The package as a program: `python -m pose_priors COMMAND ...` does what the console script does."""

from __future__ import annotations

from pose_priors.configs.command import main

if __name__ == "__main__":
    main()
