"""What pages take as given, small: poses, motions, scenes, what tools wrote, and the checkpoints that other pages have made."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pickle
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import camera_writers
import instance_scenes
import model_files
import numpy as np
import rerun
import torch
import upstream_truth
import upstream_writers
import yaml
from scaled_down import scaled

from pose_priors import refine, train
from pose_priors.benchmarks.reproduce.splits import write_split
from pose_priors.benchmarks.reproduce.stated import SPLITS
from pose_priors.body.pose_vectors import from_poses
from pose_priors.configs.load import CONFIG_DIR
from pose_priors.datamodules.synthetic import synthetic_poses
from pose_priors.datamodules.synthetic.motions import synthetic_motions
from pose_priors.datamodules.synthetic.scenes.builtin import write_builtin_scene

_NUM_POSES, _NUM_FRAMES, _FPS = 240, 66, 30.0
_LEG = (1, 4)
VARIABLES = ("POSES", "HANDS", "SIGN_WORDS", "AMASS", "DATA", "SCENES")
"""Of docs/reproduce.md."""
SCENES = {"SCENE": "scene", "FOUR_SCENES": "scenes/two_people", "SEVEN_SCENES": "scenes/three_people"}
"""Variables of single scenes, and where these are in the folder of the page."""
_COMPARED = {
    "full": "gaussian_prior",
    "gaussian_prior": "gaussian_prior",
    "correlated_18": "joint_flow",
    "joint_flow": "joint_flow",
    "joint_of_draws": "joint_flow",
    "global": "global_flow",
    "global_flow": "global_flow",
    "global_of_draws": "global_flow",
    "flow_matching": "flow_matching",
    "flow_matching_8": "flow_matching",
    "mixture_far": "mixture",
    "mixed_ensemble": "mixed_ensemble",
}
"""The configs of checkpoints that docs/benchmarks.md compares."""
_FOREIGN = ("dposer_gestures3_240f", "amass_sample_female_500f", "aist_demo_320f", "asap_video_smpl/walk")


class Newcomer:
    """Somebody who follows one page.

    Attributes:
        folder: where they work.
        data: what variables of pages name, as `$POSES`.
    """

    def __init__(self, folder: Path, data: Path) -> None:
        self.folder, self.data = folder, data

    def scene(self, path: str, seed: int = 0) -> None:
        """Stages of a sequence, and its truth beside it. Each is made once."""
        made = self.data / f"scene_{seed}"
        if not made.exists():
            write_builtin_scene(made, seed)
        shutil.copytree(made, self.folder / path)
        shutil.copy(made.with_name(f"{made.name}_gt.npz"), (self.folder / path).with_name(f"{Path(path).name}_gt.npz"))

    def refined(self, path: str) -> None:
        """A sequence with its result. It is refined once for all pages that a worker follows."""
        made = self.data / "refined"
        if not made.exists():
            write_builtin_scene(made, 0)
            with contextlib.redirect_stdout(io.StringIO()):
                refine.main(["--config", "refinement", "--override", f"input.path={made}", "trainer.enable_progress_bar=false"])
        shutil.copytree(made, self.folder / path)

    def motions(self, *folders: str, num: int = 2) -> None:
        """AMASS's files: people who walk and do other things, in each folder others."""
        long = [motion for motion in synthetic_motions(40, _FPS, 1) if len(motion.pose) >= _NUM_FRAMES]
        for number, folder in enumerate(folders):
            (self.folder / folder).mkdir(parents=True)
            for each in range(num):
                motion = long[(number * num + each) % len(long)]
                poses = from_poses(torch.nn.functional.pad(motion.pose[:_NUM_FRAMES], (0, 0, 0, 33)), 156)
                about = {"betas": np.zeros(16), "gender": "neutral", "mocap_framerate": _FPS}
                np.savez(self.folder / folder / f"walk_{each}.npz", poses=poses, trans=motion.pelvis[:_NUM_FRAMES], **about)

    def poses(self) -> None:
        """`$POSES`, as `benchmarks.reproduce` leaves it, and beside them poses that move one leg alone."""
        if not (self.data / "POSES").exists():
            poses = synthetic_poses(_NUM_POSES, seed=0)
            for split in SPLITS:
                write_split(from_poses(poses, 63).numpy().astype(np.float32), split, self.data / "POSES" / split)
            poses[:, [joint for joint in range(55) if joint not in _LEG]] = 0
            write_split(from_poses(poses, 63).numpy().astype(np.float32), "random", self.data / "POSES" / "leg")

    def hands(self) -> None:
        """`$HANDS`, and `$SIGN_WORDS`, whose people talk with theirs."""
        both = synthetic_poses(_NUM_POSES, seed=1)
        (self.data / "HANDS").mkdir()
        for number, side in enumerate(("train", "val", "test")):
            rows = from_poses(both[number::3], 90).numpy().astype(np.float32)
            np.save(self.data / "HANDS" / f"{side}.npy", rows[:, :45])
        (self.data / "SIGN_WORDS").mkdir()
        np.save(self.data / "SIGN_WORDS" / "words.npy", from_poses(both, 165).numpy())

    def checkpoints(self, *names: str, under: str = "checkpoints", data: str = "built_in", also: Sequence[str] = ()) -> None:
        """Priors that other pages have trained, by their configs, `also` with overrides. Each is trained once for all pages of a worker."""
        for name in names:
            made = self.data / data / name
            if not made.exists():
                files = [f"data.{side}={self.data / 'POSES' / data / f'{side}.npy'}" for side in ("train", "val", "test")]
                given = [*also, *(["data.path=built_in"] if data == "built_in" else files), f"logging.checkpoint_dir={made}"]
                words = ["--config", name, "--override", *given, f"logging.log_dir={self.data / 'logs'}"]
                with contextlib.redirect_stdout(io.StringIO()):
                    train.main(scaled("train", words))
            shutil.copytree(made, self.folder / under / name)


Giver = Callable[[Newcomer], object]


def _readme(new: Newcomer) -> None:
    new.scene("results/my_video", seed=1)
    new.motions("motions", num=1)
    new.motions("amass", num=6)


def _export_models(new: Newcomer) -> None:
    new.poses()
    # programs of fewer operations: to take apart those of a whole flow takes minutes
    new.checkpoints("gaussian_prior", under="demo", data="leg")
    new.checkpoints("joint_flow", under="demo", data="leg", also=["model.transform=affine", "model.num_blocks=0"])


def _exports(new: Newcomer) -> None:
    new.refined("results/my_video")
    model_files.write_model(new.folder / "models/smplx", "smplx")


def _formats(new: Newcomer) -> None:
    truth = upstream_truth.make_truth()
    upstream_writers.write_gvhmr(new.folder / "outputs/demo/tennis", truth)
    upstream_writers.write_wham(new.folder / "walk", truth)
    model_files.write_model(new.folder / "models/smpl", "smpl")
    upstream_writers.write_phalp(new.folder / "outputs", truth)
    middle = np.array([[500.0, 0, upstream_truth.SIZE[0] / 2], [0, 500.0, upstream_truth.SIZE[1] / 2], [0, 0, 1]])
    depth = np.full((len(truth.w2c), 90, 160), 4.0)
    camera_writers.write_vipe(new.folder / "vipe_results", truth.w2c, middle, upstream_truth.SIZE, depth)
    upstream_writers.write_phalp(new.folder / "results/walk", truth)
    camera_writers.write_megasam(new.folder / "megasam", truth.w2c, middle, upstream_truth.SIZE, depth)


def _instances(new: Newcomer) -> None:
    new.scene("results/my_video")
    np.savez(new.folder / "scene.npz", **instance_scenes.scene())
    # the program of the tracker: it leaves a recording for each instance
    with rerun.RecordingStream("tracker") as recording:
        recording.save(new.folder / "tracked.rrd")
        recording.log("points", rerun.Points3D([[0.0, 0, 1]]))
    copies = "import shutil, sys; shutil.copy('tracked.rrd', sys.argv[sys.argv.index('--rrd') + 1])"
    (new.folder / "demo.py").write_text(copies)


def _many_sequences(new: Newcomer) -> None:
    for name in ("jump_01", "jump_02", "my_video"):
        new.scene(f"results/{name}")
    (new.folder / "videos").mkdir()
    for name in ("video", "videos/jump_01", "videos/jump_02"):
        (new.folder / f"{name}.mp4").write_text(name)
    # the programs of stages 1 to 3: each leaves what it would have found
    (new.folder / "stage.py").write_text(
        f"import shutil, sys; shutil.copytree({str(new.data)!r} + '/scene_0/' + sys.argv[1], sys.argv[2], dirs_exist_ok=True)"
    )
    stages = ("1_camera_estimation", "2_tracking", "3_pose_estimation")
    tree = {f"stage{n}": {"command": f"{sys.executable} stage.py {stage} {{output}}"} for n, stage in enumerate(stages, 1)}
    (new.folder / "my_pipeline.yaml").write_text(yaml.safe_dump(tree))


def _called_third(scene: Path) -> None:
    """The tracker has lost somebody between the two: its second person is called 3."""
    for stage in ("3_pose_estimation", "4_world_space"):
        (scene / stage / "person_002").rename(scene / stage / "person_003")
    about = scene / "3_pose_estimation/person_003/metadata.json"
    about.write_text(json.dumps(json.loads(about.read_text()) | {"track_id": 3}))
    with np.load(scene / "2_tracking/tracks.npz") as tracks:
        named = {name.replace("track_2", "track_3"): array for name, array in tracks.items()}
    np.savez(scene / "2_tracking/tracks.npz", **named)
    for path in (scene / "2_tracking/detections").iterdir():
        seen = [each | {"track_id": 3 if each["track_id"] == 2 else each["track_id"]} for each in pickle.loads(path.read_bytes())]
        path.write_bytes(pickle.dumps(seen))
    for mask in (scene / "2_tracking/masks").glob("*_person_002.npy"):
        mask.rename(mask.with_name(mask.name.replace("person_002", "person_003")))


def _refinement(new: Newcomer) -> None:
    new.scene("results/my_video")
    _called_third(new.folder / "results/my_video")
    (new.folder / "results/my_video_gt.npz").rename(new.folder / "my_video_gt.npz")
    new.checkpoints("joint_flow", "hand_vae")
    (new.folder / "gravity").mkdir()


def _results(new: Newcomer) -> None:
    new.poses()
    new.hands()
    (new.data / "AMASS").mkdir()
    for sex in ("female", "male"):
        np.savez(new.data / "AMASS" / f"amass_sample_{sex}.npz", poses=from_poses(synthetic_poses(120, seed=5), 156))
    for name in ("two_people", "three_people", "unscaled_two", "clean_two"):
        new.scene(f"scenes/{name}")
    (new.data / "SCENES").symlink_to(new.folder / "scenes")
    for name in ("joint_flow", "global_flow"):
        new.checkpoints(name, under="given")
        shutil.copy(new.folder / "given" / name / "best.ckpt", new.folder / f"{name}.ckpt")


def _benchmarks(new: Newcomer) -> None:
    new.poses()
    for name, config in _COMPARED.items():
        new.checkpoints(config, under=f"trained/{name}", data="far")
        shutil.copytree(new.folder / "trained" / name / config, new.folder / "checkpoints" / name)
    new.scene("scene")
    (new.folder / "results").mkdir()
    (new.folder / "results" / "old").symlink_to("new")  # an earlier version, whose results are the same
    elsewhere = synthetic_poses(40, seed=3)
    for name in ("body/nrdf_ik_pose", *(f"motion/{each}" for each in _FOREIGN)):
        path = new.data / "DATA" / f"{name}.npz"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, poses=from_poses(elsewhere, 156).numpy())
    tennis = {"body_pose": from_poses(elsewhere, 63), "global_orient": elsewhere[:, 0], "transl": torch.zeros(40, 3)}
    (new.data / "DATA/upstream/gvhmr_tennis").mkdir(parents=True)
    torch.save({"smpl_params_global": tennis, "K_fullimg": torch.eye(3)}, new.data / "DATA/upstream/gvhmr_tennis/hmr4d_results.pt")


def _review(new: Newcomer) -> None:
    new.refined("results/jump_01")
    shutil.copytree(new.folder / "results/jump_01/5_refinement", new.folder / "refined/jump_01")


def _clean_and_score(new: Newcomer) -> None:
    new.motions("motions", "test")
    new.checkpoints("motion_flow", "flow_matching")


def _motion(new: Newcomer) -> None:
    new.motions("train", "val", "test", "kit", "cmu/train", "cmu/val", "cmu/test")
    new.motions("amass", num=12)
    new.checkpoints("motion_prior", "motion_flow")
    new.scene("scenes/walk")


GIVEN: dict[str, Giver] = {
    "README.md": _readme,
    "docs/benchmarks.md": _benchmarks,
    "docs/clean_and_score.md": _clean_and_score,
    "docs/cluster.md": lambda new: shutil.copy(CONFIG_DIR / "pipeline.yaml", new.folder / "my_pipeline.yaml"),
    "docs/export_models.md": _export_models,
    "docs/exports.md": _exports,
    "docs/formats.md": _formats,
    "docs/install.md": lambda new: new.checkpoints("joint_flow"),
    "docs/instances.md": _instances,
    "docs/many_sequences.md": _many_sequences,
    "docs/motion.md": _motion,
    "docs/recordings.md": lambda new: new.scene("results/my_video"),
    "docs/refinement.md": _refinement,
    "docs/results.md": _results,
    "docs/review.md": _review,
}
"""What each page takes as given."""
_CALIBRATED = {"gravity": SimpleNamespace(vec3d=torch.tensor([[0.0, -1.0, 0.0]]))}
NAMES: dict[str, dict[str, Any]] = {
    "docs/refinement.md": {"np": np, "images": [None], "model": SimpleNamespace(calibrate=lambda image: _CALIBRATED)},
    "docs/many_sequences.md": {"sys": SimpleNamespace(argv=["my_stage1.py", "--list", os.devnull]), "json": json, "reconstruct": None},
}
"""What a program of a page that is a part of a larger one knows already."""
