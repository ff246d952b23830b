"""Programs of others that work on a refined video: they get what they need, and what they make is shown."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from rerun.chunk import RrdReader
from scenes import make_clip

from pipeline import MultiTRAMPipeline
from pose_priors.configs.base import UserError

# Stands for a retargeter, and for a program that makes a mesh: a triangle, and what it was given.
PROGRAM = """
import json, sys
from pathlib import Path
output, *given = sys.argv[1:]
with Path(__file__).with_name("called.log").open("a") as log:
    print(Path(output).name, file=log)
Path(output, "given.json").write_text(json.dumps(given))
Path(output, "robot.obj").write_text("v 0 0 0\\nv 1 0 0\\nv 0 0 1\\nf 1 2 3\\n")
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    make_clip(tmp_path / "out", num_frames=8)
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    called = f"{shlex.quote(sys.executable)} {shlex.quote(str(program))} {{output}}"
    tree = {
        "trainer": {"enable_progress_bar": False},
        "refinement": {"max_total_iterations": 2},
        "background": {"command": f"{called} {{stage1}} {{refined}}"},
        "retargeting": {"command": f"{called} {{motion}} {{floor}} --id={{person}}"},
    }
    path = tmp_path / "pipeline.yaml"
    path.write_text(yaml.safe_dump(tree))
    return path


def entities(path: Path) -> set[str]:
    """What is shown in a recording."""
    reader = RrdReader(path)
    return {chunk.entity_path for chunk in reader.store(store=reader.recordings()[0]).stream()}


def test_a_retargeter_gets_each_motion_and_its_result_is_recorded(config: Path, tmp_path: Path) -> None:
    runner = MultiTRAMPipeline(config, tmp_path / "out", ["record=true"])
    runner.run_stages("none.mp4", [5])
    refined = tmp_path / "out" / "5_refinement"
    motion, floor, person = json.loads((refined / "retargeting" / "person_002" / "given.json").read_text())
    assert person == "--id=002"
    with np.load(motion) as arrays:
        assert arrays["poses"].shape == (len(arrays["trans"]), 165)
        # z up: people walk above the floor
        assert (arrays["trans"][:, 2] > 0.5).all()
    about = json.loads(Path(floor).read_text())
    assert about["up"] == [0, 0, 1]
    turn = np.array(about["T_world_motion"])[:3, :3]
    np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-9)
    shown = entities(refined / "out.rrd")
    assert {"/world/background/robot", "/world/person_001/retargeted/robot", "/world/person_002/retargeted/robot"} <= shown
    assert "/world/person_002/retargeted/robot" not in entities(refined / "out_person_001.rrd")
    called = (tmp_path / "called.log").read_text()
    assert called.split() == ["background", "person_001", "person_002"]
    runner.run_stages("none.mp4", [5])
    assert (tmp_path / "called.log").read_text() == called
    # another result is another motion
    MultiTRAMPipeline(config, tmp_path / "out", ["refinement.max_total_iterations=3"]).run_stages("none.mp4", [5])
    assert (tmp_path / "called.log").read_text() == called * 2


def test_a_retargeter_may_be_given_what_gmr_and_holosoma_take(config: Path, tmp_path: Path) -> None:
    runner = MultiTRAMPipeline(
        config, tmp_path / "out", ["background.command=null", "retargeting.layout=retarget", "retargeting.urdf=g1.urdf"]
    )
    runner.run_stages("none.mp4", [5])
    folder = tmp_path / "out" / "5_refinement" / "retargeting"
    motion = Path(json.loads((folder / "person_002" / "given.json").read_text())[0])
    assert motion.parts[-3:] == ("out", "person_002", "out_person_002_stageii.npz")
    with np.load(motion) as arrays:
        assert (float(arrays["mocap_frame_rate"]), len(arrays["betas"])) == (30, 16)
    assert json.loads((folder / "floor.json").read_text())["urdf"] == str(Path("g1.urdf").resolve())


# Stands for GeoCalib and for BSTRO: what is true of the clip, which lies beside it.
WITNESS = """
import shutil, sys
from pathlib import Path
what, output = sys.argv[1:]
with Path(__file__).with_name("called.log").open("a") as log:
    print(what, file=log)
shutil.copy(Path(__file__).with_name(f"{what}.npz"), output)
"""


def test_what_programs_know_before_the_refinement_goes_into_it(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "out", num_frames=8)
    (tmp_path / "witness.py").write_text(WITNESS)
    np.savez(tmp_path / "gravity.npz", up=np.einsum("tij,j->ti", clip.w2c[:, :3, :3], clip.plane[:3]))
    np.savez(tmp_path / "contacts.npz", person_001=np.ones((8, 2)), person_002=np.ones((8, 2)))
    called = f"{shlex.quote(sys.executable)} {shlex.quote(str(tmp_path / 'witness.py'))}"
    tree: dict[str, dict[str, object]] = {what: {"command": f"{called} {what} {{output}}"} for what in ("gravity", "contacts")}
    tree |= {"trainer": {"enable_progress_bar": False}, "refinement": {"max_total_iterations": 2}}
    (tmp_path / "pipeline.yaml").write_text(yaml.safe_dump(tree))
    config, log = tmp_path / "pipeline.yaml", tmp_path / "called.log"
    came = MultiTRAMPipeline(config, tmp_path / "out").run_stages("none.mp4", [5])[5]
    up, feet = came["told"]
    assert up.startswith(str(tmp_path / "out" / "gravity" / "gravity.npz"))
    assert feet.startswith(str(tmp_path / "out" / "contacts"))
    assert log.read_text().split() == ["gravity", "contacts"]
    again = MultiTRAMPipeline(config, tmp_path / "out").run_stages("none.mp4", [5])[5]
    assert again["skipped"]
    assert log.read_text().split() == ["gravity", "contacts"]
    # what a program says is part of what a result is made from
    np.savez(tmp_path / "out" / "contacts" / "contacts.npz", person_001=np.ones((8, 4)))
    without = MultiTRAMPipeline(config, tmp_path / "out", ["contacts.command=null"]).run_stages("none.mp4", [5])[5]
    assert not without["skipped"]
    assert without["told"][1].endswith("it does not know person 2")
    with pytest.raises(UserError, match=r"input\.contacts names a file, and contacts\.command makes one: give one of them"):
        MultiTRAMPipeline(config, tmp_path / "out", ["input.contacts=c.npz"])
    with pytest.raises(UserError, match=r"input\.contacts=no/out\.npz: no such file or folder$"):
        MultiTRAMPipeline(config, tmp_path / "out", ["contacts.command=null", "input.contacts='no/{name}.npz'"]).run_stages("none.mp4", [5])


def test_a_program_that_fails_is_named(config: Path, tmp_path: Path) -> None:
    code = shlex.quote("raise SystemExit('no such robot')")
    command = json.dumps(f"{shlex.quote(sys.executable)} -c {code} {{output}}")
    with pytest.raises(UserError, match=r"^retargeting failed with exit code 1; its last words: 'no such robot'"):
        MultiTRAMPipeline(config, tmp_path / "out", [f"retargeting.command={command}"]).run_stages("none.mp4", [5])
    with pytest.raises(UserError, match=r"retargeting\.command=.*\{video\} stands for nothing; allowed: \{motion\}, "):
        MultiTRAMPipeline(config, tmp_path / "out", ["retargeting.command=run {video}"])
