"""Which pages are followed where, and what no test can run of their commands, by a part of each, and why. These are parsed alone."""

from __future__ import annotations

GROUPS: dict[str, tuple[str, ...]] = {
    "readme": ("README.md", "docs/fit_your_own.md"),
    "priors": (
        "docs/api/index.md",
        "docs/clean_and_score.md",
        "docs/cluster.md",
        "docs/export_models.md",
        "docs/install.md",
        "docs/reproduce.md",
    ),
    "scenes": (
        "docs/exports.md",
        "docs/formats.md",
        "docs/instances.md",
        "docs/many_sequences.md",
        "docs/recordings.md",
        "docs/refinement.md",
        "docs/review.md",
    ),
    "motions": ("docs/motion.md",),
    "results": ("docs/results.md",),
    "benchmarks": ("docs/benchmarks.md",),
}
"""Pages by the test that follows them, `test_followed_<group>.py`."""
ELSEWHERE_FOLLOWED: dict[str, str] = {
    "CONTRIBUTING.md": "whoever runs the tests does what it says",
    "docs/extending.md": "tests/test_extending.py",
    "docs/notebooks/clean_motions.md": "tests/docs/test_notebooks.py",
    "docs/notebooks/refine_people.md": "tests/docs/test_notebooks.py",
    "docs/notebooks/train_a_prior.md": "tests/docs/test_notebooks.py",
}
NOT_FOLLOWED: dict[str, dict[str, str]] = {
    "docs/benchmarks.md": {"benchmarks.speed --output": "tests/benchmarks/speed runs it, scaled down, and reads its tables"},
    "docs/cluster.md": {"--launcher slurm": "a cluster; tests/slurm has one of its own"},
    "docs/exports.md": {"--format mhr": "files of others; tests/refinement/export/test_export_rig.py has a rig that is driven as they say"},
    "docs/export_models.md": {"hf://owner/name": "the network; tests/priors/weights has a hub of its own"},
    "docs/motion.md": {"--launcher slurm": "a cluster; tests/slurm has one of its own"},
    "docs/reproduce.md": {
        "--data reference_batch.pt": "one file of others, known by its digest; tests/benchmarks/test_reproduce.py has built-in poses",
        "reproduce refinement": "processes of its own; tests/benchmarks/test_reproduce.py runs the same in one",
    },
}
