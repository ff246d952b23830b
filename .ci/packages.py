"""What is installed: `python .ci/packages.py lock` writes requirements.lock, `python .ci/packages.py licences` docs/licences.md.

Both walk from the packages that requirements.txt pins to all that these need, as they are installed here, and are run after
requirements.txt has changed; a test compares both with what is installed.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections import defaultdict
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
LOCK, LICENCES = ROOT / "requirements.lock", ROOT / "docs" / "licences.md"
# The build of torch, and so its hash and CUDA's libraries below it, is chosen by its index: `make setup` installs it first, by version.
TORCH = re.compile(r"torch|triton|nvidia-.*|cuda-.*")
PYTHONS = ("3.11", "3.12", "3.13")
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_27_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64", "manylinux_2_5_x86_64")
# What anny names for skinning on GPUs, 150 MB; it skins without, which is all that is asked of it.
UNUSED = {"warp-lang"}
# Whose metadata says nothing: what the licence file beside them says.
_STATED = {
    "smplx": "Software Copyright License for non-commercial scientific research purposes",
    "anny": "Apache-2.0; its body, of MakeHuman: CC0-1.0",
    "nanomanifold": "Apache-2.0",
    "ptloader": "none; its maker's body-models, which needs it, is Apache-2.0",
}
_LOCK_HEAD = """\
# All that requirements.txt needs on Linux x86-64 with Python {pythons}, by version and content; written by .ci/packages.py.
# torch is not here: its build, and so its content, depends on the index (docs/install.md). Install it first, then
# pip install --require-hashes --no-deps -r requirements.lock
"""
_LICENCES_HEAD = """\
# Licences of what is installed

All that `requirements.txt` needs, with all extras and the tools of developers, as the packages' own metadata says. Written by
`python .ci/packages.py licences`; a test compares it with what is installed. `pyproject.toml` says which extra needs what. CUDA builds of
torch bring NVIDIA's libraries, under NVIDIA's own terms, which are not listed. `smplx` is for non-commercial use; nothing but one benchmark
needs it. Of what `anny` names, `warp-lang` (Apache-2.0, for skinning on GPUs) is left out: it is not used here, but `pip install
'pose-priors[anny]'` brings it. Anny can load data for non-commercial use too, with SMPL-X's mesh; that is never asked for.
`ptloader`, which the extra `rigs` brings, comes without a licence.

| package | licence |
|---|---|
"""


def installed() -> dict[str, Distribution]:
    """By name, all that the packages of requirements.txt need, themselves among them. CUDA's libraries are left out."""
    lines = (line for line in (ROOT / "requirements.txt").read_text().splitlines() if "==" in line and not line.startswith("#"))
    waiting = [Requirement(line) for line in lines]
    found: dict[str, Distribution] = {}
    seen: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        wanted = waiting.pop()
        name = canonicalize_name(wanted.name)
        if name in UNUSED or (key := (name, frozenset(wanted.extras))) in seen or (TORCH.fullmatch(name) and name != "torch"):
            continue
        seen.add(key)
        found[name] = distribution(name)
        for text in found[name].requires or []:
            needed = Requirement(text)
            if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in ("", *wanted.extras)):
                waiting.append(needed)
    return dict(sorted(found.items()))


def licence(package: Distribution) -> str:
    """What a package says of its licence, in the first of the places that hold it."""
    if stated := _STATED.get(canonicalize_name(package.name)):
        return stated
    metadata = package.metadata
    if expression := metadata.get("License-Expression"):
        return expression
    classifiers = [text.split(" :: ")[-1] for text in metadata.get_all("Classifier", []) if text.startswith("License :: ")]
    if classifiers := [text for text in classifiers if text != "OSI Approved"]:
        return ", ".join(sorted(classifiers))
    lines = (metadata.get("License") or "").strip().splitlines()
    return lines[0].strip() if lines else "not stated"


def licence_table() -> str:
    """The content of docs/licences.md."""
    return _LICENCES_HEAD + "".join(f"| {name} | {licence(package)} |\n" for name, package in installed().items())


def locked() -> dict[str, tuple[str, set[str]]]:
    """By name, version and hashes in requirements.lock."""
    found: dict[str, tuple[str, set[str]]] = {}
    for entry in LOCK.read_text().replace("\\\n", " ").splitlines():
        if entry and not entry.startswith("#"):
            pin, *hashes = entry.split()
            name, version = pin.split("==")
            found[name] = version, {text.removeprefix("--hash=sha256:") for text in hashes}
    return found


def lock() -> str:
    """The content of requirements.lock, with hashes as pip resolves the installed versions for each Python."""
    pins = {name: package.version for name, package in installed().items() if not TORCH.fullmatch(name)}
    hashes: dict[str, set[str]] = defaultdict(set)
    for python in PYTHONS:
        with tempfile.TemporaryDirectory() as folder:
            report = Path(folder) / "report.json"
            command = [
                sys.executable,
                "-m",
                "pip",
                "install",
                "--quiet",
                "--dry-run",
                "--ignore-installed",
                "--no-deps",
                "--report",
                report,
            ]
            command += ["--target", folder, "--python-version", python, *(f"--platform={name}" for name in PLATFORMS)]
            subprocess.run([*command, *(f"{name}=={version}" for name, version in pins.items())], check=True)
            for item in json.loads(report.read_text())["install"]:
                hashes[canonicalize_name(item["metadata"]["name"])].add(item["download_info"]["archive_info"]["hashes"]["sha256"])
    entries = (
        f"{name}=={version}" + "".join(f" \\\n    --hash=sha256:{text}" for text in sorted(hashes[name])) + "\n"
        for name, version in pins.items()
    )
    return _LOCK_HEAD.format(pythons=", ".join(PYTHONS)) + "".join(entries)


if __name__ == "__main__":
    if sys.argv[1:] == ["lock"]:
        LOCK.write_text(lock())
    elif sys.argv[1:] == ["licences"]:
        LICENCES.write_text(licence_table())
    else:
        raise SystemExit("python .ci/packages.py lock, or licences")
