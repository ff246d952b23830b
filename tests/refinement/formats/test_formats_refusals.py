"""What is not as its tool writes it is refused in one line that says what was found; what would run code is refused and does not run."""

from __future__ import annotations

import os
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import joblib
import numpy as np
import pytest
import torch
from gem_x_writer import write_gem_x
from romp_writer import write_romp
from upstream_truth import IDS, make_truth
from upstream_world_writers import (
    write_comotion,
    write_glamr,
    write_gvhmr_spellings,
    write_human3r,
    write_josh,
    write_megahunter,
    write_sam3d_body,
    write_slahmr,
)
from upstream_writers import write_gvhmr, write_phalp, write_prompthmr, write_tram, write_wham

from pose_priors.configs.base import UserError
from pose_priors.refinement.formats import UPSTREAM, files_of, recognize
from pose_priors.refinement.given.load import load_sequence

Spoil = Callable[[Any], None]


class Attack:
    """Runs a command when unpickled by the standard reader."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple:
        return os.system, (f"touch {self.marker}",)


def without(key: str) -> Spoil:
    return lambda content: content.pop(key)


def put(key: str, value: Any) -> Spoil:
    return lambda content: content.__setitem__(key, value)


def person(key: Any, spoil: Spoil) -> Spoil:
    return lambda content: spoil(content[key])


def every(spoil: Spoil) -> Spoil:
    return lambda content: [spoil(value) for value in content.values()]


def h5_put(path: str, value: np.ndarray) -> Spoil:
    def spoil(file: h5py.File) -> None:
        del file[path]
        file[path] = value

    return spoil


def h5_rename(old: str, new: str) -> Spoil:
    return lambda file: file.move(old, new)


PEOPLE, SCENE = "our_pred_humans_smplx_params", "our_pred_world_cameras_and_structure"
REFUSALS: dict[str, tuple[Callable[..., Path], Spoil, str]] = {
    "tram, no cameras": (write_tram, without("pred_cam_R"), r"camera\.npy: no 'pred_cam_R'; it holds pred_cam_T \(16, 3\), img_focal"),
    "tram, columns": (write_tram, put("pred_cam_T", np.zeros((16, 3, 1))), r"'pred_cam_T' has shape \(16, 3, 1\); \(T, 3\) is expected"),
    "tram, scaled": (write_tram, put("pred_cam_R", np.tile(2 * np.eye(3), (16, 1, 1))), "no rotation"),
    "tram, two focal lengths": (write_tram, put("img_focal", np.ones(2)), r"'img_focal' has shape \(2,\); one number"),
    "phalp, no sizes": (write_phalp, every(without("size")), r"frame frames/000001\.jpg: no 'size'; it holds time"),
    "phalp, an axis-angle pose": (
        write_phalp,
        every(lambda f: f["smpl"][0].update(body_pose=np.zeros((23, 3)))),
        r"track 3: 'smpl': 'body_pose' has shape \(23, 3\); \(23, 3, 3\) is expected",
    ),
    "phalp, lists of two lengths": (write_phalp, every(lambda f: f["smpl"].pop()), "lists of one length are expected.*smpl 1"),
    "gvhmr, no world": (write_gvhmr, without("smpl_params_global"), r"no 'smpl_params_global'; it holds smpl_params_incam \{body_pose"),
    "gvhmr, SMPL's pose": (
        write_gvhmr,
        person("smpl_params_incam", put("body_pose", torch.zeros(16, 69))),
        r"'smpl_params_incam': 'body_pose' has shape \(16, 69\); \(F, 63\) is expected with F = 16",
    ),
    "gvhmr, one matrix": (write_gvhmr, put("K_fullimg", torch.eye(3)[None]), "16 frames in the camera, 16 in the world and 1 K_fullimg"),
    "prompthmr, no cameras": (write_prompthmr, lambda c: c["camera_world"].pop("Rcw"), r"'camera_world': no 'Rcw'; it holds Tcw \(16, 3\)"),
    "slahmr, vertices": (write_slahmr, put("pose_body", np.zeros((2, 16, 69))), r"'pose_body' has shape \(2, 16, 69\); \(B, T, 63\)"),
    "slahmr, two cameras": (write_slahmr, lambda c: c["cam_t"].__iadd__([[[0]], [[1]]]), "differ between people"),
    "slahmr, other frames": (write_slahmr, put("cam_R", np.zeros((2, 9, 3, 3))), r"'cam_R' has shape \(2, 9, 3, 3\).*T = 16"),
    "megahunter, no camera": (write_megahunter, h5_rename(f"{SCENE}/00005/cam2world", f"{SCENE}/00005/c2w"), "00005: no 'cam2world'"),
    "megahunter, a hole": (write_megahunter, h5_rename(f"{SCENE}/00007", "lost"), r"uneven steps of \[1, 2\]"),
    "gvhmr's other names, a column": (
        write_gvhmr_spellings,
        put("transl_incam", np.zeros((16, 3, 1))),
        r"'smpl_params_incam': 'transl' has shape \(16, 3, 1\)",
    ),
    "comotion, joints apart": (write_comotion, put("pose", np.zeros((27, 24, 3))), r"'pose' has shape \(27, 24, 3\); \(N, 72\)"),
    "human3r, all joints": (write_human3r, put("rotvec", np.zeros((2, 55, 3))), r"'rotvec' has shape \(2, 55, 3\); \(n, 53, 3\)"),
    "josh, three rows": (write_josh, put("pred_cam", np.zeros((16, 3, 4))), r"'pred_cam' has shape \(16, 3, 4\); \(T, 4, 4\)"),
    "josh, other frames": (write_josh, put("img_idx", np.array([0, 16])), "'img_idx' runs to 16; there are 16 cameras"),
    "josh, half a frame": (write_josh, put("img_idx", np.array([0, 8.5])), "'img_idx' holds others than whole numbers"),
    "comotion, half a frame": (write_comotion, put("frame_idx", np.arange(27) / 2), "'frame_idx' holds others than whole numbers"),
    "gem_x, SMPL-X": (
        write_gem_x,
        lambda c: c["body_params_global"].update(body_pose=np.zeros((5, 63))),
        r"has shape \(5, 63\); \(5, 228\)",
    ),
    "sam3d, COCO": (write_sam3d_body, put("pred_keypoints_3d", np.zeros((17, 3))), r"'pred_keypoints_3d' has shape \(17, 3\); \(70, 3\)"),
    "sam3d, another camera": (write_sam3d_body, lambda c: c["pred_keypoints_2d"].__iadd__(np.eye(70)[:, :2] * 50), "not pred_keypoints_3d"),
    "romp, no points": (write_romp, without("pj2d_org"), r"00000000\.npz: no 'pj2d_org', which ROMP and BEV write unless --calc_smpl"),
    "romp, SMPL-X": (write_romp, put("smpl_thetas", np.zeros((2, 165))), r"'smpl_thetas' has shape \(2, 165\); \(n, 72\)"),
    "romp, another camera": (write_romp, lambda c: c["pj2d_org"].__imul__(np.eye(71)[:, :2] + 1), "not joints \\+ cam_trans in a camera"),
    "glamr, no intrinsics": (write_glamr, lambda c: [p.pop("cam_K") for p in c["person_data"].values()], "no 'cam_K'; it holds visible"),
}
OF_ONE_PERSON: dict[str, tuple[Callable[..., Path], Spoil, str]] = {
    "wham, six joints": (write_wham, person(3, put("pose", np.zeros((16, 18)))), r"person 3: 'pose' has shape \(16, 18\).*n = 16"),
    "wham, no frames": (write_wham, person(7, without("frame_ids")), r"person 7: no 'frame_ids'; it holds pose \(11, 72\)"),
    "prompthmr, a matrix": (
        write_prompthmr,
        lambda c: c["people"][3]["smplx_world"].update(pose=np.zeros((16, 72))),
        r"people.*3.*smplx_world.*'pose' has shape \(16, 72\); \(n, 165\)",
    ),
    "megahunter, a rotation vector": (
        write_megahunter,
        h5_put(f"{PEOPLE}/3/global_orient", np.zeros((16, 3))),
        rf"{PEOPLE}/3: 'global_orient' has shape \(16, 3\); \(n, 1, 3, 3\) is expected with n = 16",
    ),
    "megahunter, fewer frames": (
        write_megahunter,
        h5_rename(f"{SCENE}/00020", "lost"),
        "info_list/3 names 00005,.*for 16 rows",
    ),
    "glamr, the root's matrix": (
        write_glamr,
        lambda c: c["person_data"][3].update(smpl_orient_world=np.zeros((16, 3, 3))),
        r"'person_data': '3': 'smpl_orient_world' has shape \(16, 3, 3\); \(T, 3\) is expected with T = 16",
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_another_layout_is_refused_with_what_was_found(tmp_path: Path, case: str) -> None:
    write, spoil, told = REFUSALS[case]
    path = write(tmp_path / "walk", make_truth(), spoil)
    with pytest.raises(UserError, match=told) as error:
        load_sequence(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("case", OF_ONE_PERSON)
def test_one_person_of_another_layout_costs_that_person_alone(tmp_path: Path, case: str) -> None:
    write, spoil, told = OF_ONE_PERSON[case]
    problem = load_sequence(write(tmp_path / "walk", make_truth(), spoil))
    lost = 7 if "person 7" in told else 3
    assert problem.person_ids == tuple(person for person in IDS if person != lost)
    (line,) = (line for line in problem.warnings if "left out" in line and re.search(told, line))
    assert line.startswith(f"person {lost} is left out: ")


@pytest.mark.parametrize(
    ("write", "spoil"),
    [
        (write_prompthmr, lambda c: c["people"][3].update(keypoints_2d=np.zeros((16, 9)))),
        (write_glamr, lambda c: c["person_data"][3].update(kp_2d=np.zeros((16, 9)))),
    ],
)
def test_keypoints_of_another_layout_cost_these_alone(tmp_path: Path, write: Callable[..., Path], spoil: Spoil) -> None:
    problem = load_sequence(write(tmp_path / "walk", make_truth(), spoil))
    assert problem.person_ids == IDS
    assert [line.startswith("what was seen of person 3 is left out: ") for line in problem.warnings].count(True) == 1


def test_every_format_is_refused_somewhere_above() -> None:
    assert {write.__name__.removeprefix("write_") for write, _, _ in (*REFUSALS.values(), *OF_ONE_PERSON.values())} == {
        form.__name__.rpartition(".")[2] for form in UPSTREAM if form.NAME != "Multi-TRAM"
    }


def spoiled_by(write: Callable[..., Path], put_in: Callable[[Any, Attack], None]) -> Callable[[Path, Attack], Path]:
    return lambda folder, attack: write(folder, make_truth(), lambda content: put_in(content, attack))


def replaced(write: Callable[..., Path], name: str, dump: Callable[[Any, Path], None]) -> Callable[[Path, Attack], Path]:
    def hostile(folder: Path, attack: Attack) -> Path:
        path = write(folder, make_truth())
        dump({"points": attack}, folder / name)
        return path

    return hostile


def hps(folder: Path, attack: Attack) -> Path:
    return write_tram(folder, make_truth(), change_hps=lambda content: content.__setitem__("pred_cam", attack))


def dump_npy(content: Any, path: Path) -> None:
    np.save(path, np.array(content, dtype=object), allow_pickle=True)


def at(key: str) -> Callable[[Any, Attack], None]:
    return lambda content, attack: content.__setitem__(key, attack)


HOSTILE: dict[str, Callable[[Path, Attack], Path]] = {
    "tram camera": spoiled_by(write_tram, at("spec_focal")),
    "tram hps": hps,
    "tram tracks": replaced(write_tram, "tracks.npy", dump_npy),
    "phalp": spoiled_by(write_phalp, lambda c, a: c["frames/000003.jpg"].__setitem__("annotations", a)),
    "wham": spoiled_by(write_wham, lambda c, a: c[3].__setitem__("verts", a)),
    "wham slam": replaced(write_wham, "slam_results.pth", joblib.dump),
    "wham tracking, compressed": replaced(write_wham, "tracking_results.pth", lambda c, p: joblib.dump(c, p, compress=("xz", 3))),
    "gvhmr": spoiled_by(write_gvhmr, at("net_outputs")),
    "gvhmr vitpose": replaced(write_gvhmr, "preprocess/vitpose.pt", torch.save),
    "gvhmr slam": replaced(write_gvhmr, "slam_results.pt", torch.save),
    "prompthmr": spoiled_by(write_prompthmr, at("masks")),
    "slahmr": spoiled_by(write_slahmr, lambda c, a: c.__setitem__("extra", np.array([a], dtype=object))),
    "glamr": spoiled_by(write_glamr, at("gt")),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_pickles_are_refused_by_name_and_never_run(tmp_path: Path, case: str) -> None:
    marker = tmp_path / "ran"
    path = HOSTILE[case](tmp_path / "walk", Attack(marker))
    name = recognize(path)
    with pytest.raises(UserError, match=r"refused to (unpickle|load) .*system") as error:
        load_sequence(path)
    assert "\n" not in str(error.value)
    assert not marker.exists()
    # whoever looks for sequences still finds it, and hears of it when it is read
    assert name is not None
    assert name.lower().replace(" ", "").find(case.split()[0]) >= 0


def test_attacks_of_these_tests_do_run_where_nobody_stops_them(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Attack(tmp_path / "ran")))
    assert (tmp_path / "ran").exists()


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    for write, name in ((write_wham, "wham_output.pkl"), (write_gvhmr, "hmr4d_results.pt"), (write_prompthmr, "results.pkl")):
        folder = tmp_path / name
        path = write(folder, make_truth())
        (folder / name).write_bytes((folder / name).read_bytes()[:-200])
        assert recognize(path) is not None
        with pytest.raises(UserError, match=rf"{name}: not a readable"):
            load_sequence(path)


@pytest.mark.parametrize("content", [{"frame": 1}, [1, 2], np.arange(3), {"a": {"b": 1}}, {}])
def test_what_no_tool_writes_is_unknown(tmp_path: Path, content: Any) -> None:
    path = tmp_path / "results.pkl"
    path.write_bytes(pickle.dumps(content))
    assert recognize(path) is None
    assert files_of(path) == []
    with pytest.raises(UserError, match=r"results\.pkl: not a result of Multi-TRAM, TRAM, .*; it holds"):
        load_sequence(path)


@pytest.mark.parametrize("write", [write_phalp, write_megahunter])
def test_a_folder_of_many_clips_is_not_one_clip(tmp_path: Path, write: Callable[..., Path]) -> None:
    path = write(tmp_path / "walk", make_truth())
    assert recognize(path.parent) == recognize(path)
    (path.parent / path.name.replace("walk", "run")).write_bytes(path.read_bytes())
    assert recognize(path.parent) is None
    assert [recognize(file) is not None for file in sorted(path.parent.iterdir())] == [True, True]


def test_what_is_not_there_or_no_kind_of_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder or file"):
        load_sequence(tmp_path / "nothing")
    (tmp_path / "video.mp4").write_bytes(b"0" * 100)
    assert recognize(tmp_path / "video.mp4") is None
    assert recognize(tmp_path) is None
    with pytest.raises(UserError, match=r"it holds video\.mp4"):
        load_sequence(tmp_path)
    with pytest.raises(UserError, match=r"video\.mp4: not a result of .*unknown kind of file"):
        load_sequence(tmp_path / "video.mp4")
