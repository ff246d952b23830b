"""Recording and review open no connection to anybody and leave no identity of a user behind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CHILD = """
import socket, sys
from pathlib import Path

def refused(self, address, *_):
    raise AssertionError(f"a connection to {address}")

socket.socket.connect = socket.socket.connect_ex = refused
from pose_priors.refinement.show.record import merge_recordings, require_rerun
from pose_priors.refinement.show.review import serve

folder = Path(sys.argv[1])
require_rerun()
import rerun as rr
with rr.RecordingStream("refinement") as stream:
    stream.save(folder / "a.rrd")
    stream.log("a", rr.Points3D([[0, 0, 0]]))
merge_recordings({"a": folder / "a.rrd"}, folder / "b.rrd", "b")
refined = folder / "clip" / "5_refinement"
refined.mkdir(parents=True)
(refined / "refinement_results.json").write_text('{"status": "success", "per_person_likelihoods": {}}')
server, _ = serve(folder, "127.0.0.1", 0)
server.stop()
assert "wandb" not in sys.modules
"""


def test_recording_and_review_start_no_telemetry(tmp_path: Path) -> None:
    pytest.importorskip("rerun", reason="rerun, which records, is not installed")
    pytest.importorskip("viser", reason="viser, which serves the page, is not installed")
    (tmp_path / "home").mkdir()
    environment = {name: value for name, value in os.environ.items() if name not in ("CI", "XDG_CONFIG_HOME", "XDG_DATA_HOME")}
    environment["HOME"] = str(tmp_path / "home")
    done = subprocess.run([sys.executable, "-c", CHILD, str(tmp_path)], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert (tmp_path / "b.rrd").is_file()
    assert [path.name for path in (tmp_path / "home").rglob("*analytics*")] == []
