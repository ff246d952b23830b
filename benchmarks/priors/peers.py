"""The baselines: each is fitted in the run, on the same training rows that the trained priors had. One more costs one line in `PEERS`."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path

from pose_priors.benchmarks.priors.candidate import Candidate
from pose_priors.benchmarks.priors.data import BenchmarkData
from pose_priors.benchmarks.priors.gmm import fit_gaussian, fit_gmm, fit_ppca, read_smplify_gmm
from pose_priors.benchmarks.priors.kernel_fits import fit_averaged_gmm, fit_kde, fit_kde_and_gmm
from pose_priors.benchmarks.priors.vposer import train_vposer

log = logging.getLogger("benchmark")

PEERS: dict[str, Callable[[str, BenchmarkData], Candidate]] = {
    "Gaussian, diagonal": partial(fit_gaussian, blocks="components"),
    "Gaussian, per joint": partial(fit_gaussian, blocks="joints"),
    "Gaussian, full": partial(fit_gaussian, blocks="pose"),
    "GMM-8": partial(fit_gmm, num_components=8),
    "GMM-16": partial(fit_gmm, num_components=16),
    "GMMs, mean": fit_averaged_gmm,
    "KDE": fit_kde,
    "KDE and GMMs": fit_kde_and_gmm,
    "PPCA": fit_ppca,
    "VPoser": train_vposer,
}


def fit_peers(data: BenchmarkData, names: Collection[str], smplify_gmm: Path | None = None) -> list[Candidate]:
    """The baselines of these names, fitted; SMPLify's mixture where its file is given."""
    fits = {name: fit for name, fit in PEERS.items() if name in names} | (
        {} if smplify_gmm is None else {"SMPLify GMM": partial(read_smplify_gmm, path=smplify_gmm)}
    )
    candidates = []
    for name, fit in fits.items():
        began = time.perf_counter()
        candidates.append(fit(name, data))
        log.info("%s: fitted in %.1f s", candidates[-1].name, time.perf_counter() - began)
    return candidates
