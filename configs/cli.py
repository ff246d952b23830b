"""How the scripts meet their user: logging, and one line instead of a traceback for a mistake that the user can mend."""

from __future__ import annotations

import argparse
import logging
import sys
import warnings
from collections.abc import Callable
from typing import NoReturn

from pose_priors.configs.base import UserError

# Which extra of the package brings a library that not everybody needs.
EXTRAS = {
    "pytorch_lightning": "train",
    "yaml": "train",
    "rich": "train",
    "scipy": "train",
    "sklearn": "train",
    "matplotlib": "train",
    "tensorboard": "train",
    "wandb": "train",
    "h5py": "refine",
    "PIL": "refine",
    "rerun": "view",
    "viser": "view",
    "submitit": "slurm",
    "smplx": "smplx",
}


class Parser(argparse.ArgumentParser):
    """An argument parser whose complaints are a `UserError`, one line like all others."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; see --help")


def set_up_console() -> None:
    """What a script's user sees: its own messages, without those of others that say nothing to them."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)  # it advertises
    warnings.filterwarnings("ignore", message=".*LeafSpec.*is deprecated")
    # to train or refine where one logs in is no mistake
    warnings.filterwarnings("ignore", message="The `srun` command is available")
    # what one rank alone logs is meant so
    warnings.filterwarnings("ignore", message=".*sync_dist=True.*")
    # nflows solves triangular systems by a function that torch has renamed
    warnings.filterwarnings("ignore", message="torch.triangular_solve is deprecated")


def run(main: Callable[[], object]) -> None:
    """Runs a script's `main`; a `UserError`, or a library that is not installed, is printed as one line and exits with code 2."""
    set_up_console()
    try:
        main()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except ModuleNotFoundError as error:
        library = (error.name or "").split(".")[0]
        if library not in EXTRAS:
            raise
        print(f"error: {library} is not installed; it comes with: pip install 'pose-priors[{EXTRAS[library]}]'", file=sys.stderr)
        sys.exit(2)
