"""Files of strangers: nothing in them runs or is passed on, each is refused on one line, in bounded time and memory."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hostile_files import scene_npz, write_all

from pose_priors.refinement.instances import split_npz_by_instances

READER = """
import json, resource, signal, sys
from pathlib import Path
from pose_priors.body.smplx_files import load_joint_model
from pose_priors.configs.base import UserError
from pose_priors.configs.load import read_config
from pose_priors.datamodules.arrays import open_arrays
from pose_priors.datamodules.safe_pickle import load_pickle
from pose_priors.refinement.formats.files import read_json
from pose_priors.refinement.formats.masks import Masks
from pose_priors.refinement.formats.point_cloud import read_points
from pose_priors.refinement.formats.source import Source
from pose_priors.refinement.formats.tools import megahunter

def arrays(path):
    return [entry.load() for entry in open_arrays(path).values()]

def hdf5(path):
    source = Source(path)
    if not megahunter.detect(source):
        raise UserError("none of MegaHunter's")
    return megahunter.read(source, [])

READERS = {".pkl": (load_pickle, arrays), ".pt": (load_pickle, arrays), ".npy": (arrays,), ".npz": (arrays,), ".ply": (read_points,),
           ".json": (read_json,), ".yaml": (lambda path: read_config(str(path)),), ".h5": (hdf5,)}

def late(*_):
    raise TimeoutError

folder = Path(sys.argv[1])
resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30))
signal.signal(signal.SIGALRM, late)
cases = [(path, reader) for path in sorted(folder.iterdir()) for reader in READERS.get(path.suffix, ())]
cases += [(path, lambda path: load_joint_model(path, 10)) for path in sorted((folder / "model").iterdir())]
for path, reader in cases:
    signal.alarm(10)
    try:
        reader(path)
        outcome = "read"
    except UserError as error:
        outcome = "refused" if str(error).isprintable() and len(str(error)) < 1500 else repr(str(error))
        lfs = "lfs" in path.name and "Git LFS" not in str(error)
        outcome = "not called a pointer" if lfs else outcome
    except BaseException as error:
        outcome = f"{type(error).__name__}: {error}"[:300]
    signal.alarm(0)
    print(json.dumps([f"{path.parent.name}/{path.name}" if path.parent != folder else path.name, outcome]), flush=True)
warnings = []
masks = Masks(folder, warnings)
print(json.dumps(["masks", "refused" if [masks.read(p, 1) for p in range(1, 6)] == [None] * 5 else "read"]), flush=True)
# its own peak: ru_maxrss begins at that of the process which started it
peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
print(json.dumps(["peak", int(peak.split()[1])]))
"""

HARMLESS = {"code_behind.pkl", "far_memo.pkl", "other_name_inside.npz"}
"""What is read for what it is at its beginning, or may be."""


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What became of each file, all read by one child of this process."""
    folder = tmp_path_factory.mktemp("hostile")
    trace = tmp_path_factory.mktemp("trace") / "EXECUTED"
    write_all(folder, trace)
    child = subprocess.run([sys.executable, "-c", READER, str(folder)], capture_output=True, text=True, timeout=300, check=False)
    assert child.returncode == 0, child.stderr[-2000:]
    assert not trace.exists()
    found: dict[str, str] = {}
    for line in child.stdout.splitlines():
        name, outcome = json.loads(line)
        found[name] = outcome if found.get(name, "refused") == "refused" else found[name]
    return found


@pytest.mark.slow
def test_every_hostile_file_is_refused_on_one_line(outcomes: dict[str, str]) -> None:
    files = {name: outcome for name, outcome in outcomes.items() if name != "peak"}
    assert len(files) > 120
    assert {name: outcome for name, outcome in files.items() if outcome != "refused" and name not in HARMLESS} == {}
    assert {files[name] for name in HARMLESS & files.keys()} <= {"read", "refused"}


def test_no_hostile_file_takes_much_memory(outcomes: dict[str, str]) -> None:
    assert int(outcomes["peak"]) < 1 << 20  # KiB


def test_trackers_get_what_was_read_and_nothing_else(tmp_path: Path) -> None:
    scene_npz(tmp_path / "scene.npz", tmp_path / "EXECUTED")
    (path,) = split_npz_by_instances(tmp_path / "scene.npz", tmp_path / "out").values()
    with np.load(path, allow_pickle=True) as arrays:
        assert set(arrays) == {"sam2_masks", "instance_id", "original_file"}
        assert {name: arrays[name].shape for name in arrays} == {"sam2_masks": (), "instance_id": (), "original_file": ()}
    assert not (tmp_path / "EXECUTED").exists()
