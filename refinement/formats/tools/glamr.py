"""GLAMR: `grecon/<video>_seed<n>.pkl` (Yuan et al., "GLAMR: Global Occlusion-Aware Human Mesh Recovery with Dynamic Cameras", CVPR 2022).

Frames: all of the video, from 0, at the 30 frames a second at which GLAMR takes them. Person ids: the keys of `person_data`. Rows outside
`vis_frames` are GLAMR's guesses for people who are hidden, and count as not seen. Camera: `cam_pose`, world to camera. Scale: metric as far
as body size tells. Up: z. Intrinsics: `cam_K` of the people on frames on which they are seen. Bodies: SMPL, `smpl_orient_world`,
`smpl_pose`; `root_trans_world` is where the pelvis stands, not smplx's translation. Keypoints: `kp_2d`, 26 points of GLAMR's own, read as
the SMPL joints that they were made from. No depth maps, no masks.
"""

from __future__ import annotations

import numpy as np

from pose_priors.configs.base import UserError
from pose_priors.refinement.formats.assembly import camera_track, left_out, nobody, people_of, person_id, usual_betas
from pose_priors.refinement.formats.bodies import BodyTrack
from pose_priors.refinement.formats.cameras import USUAL_FPS
from pose_priors.refinement.formats.clip import UpstreamClip
from pose_priors.refinement.formats.source import Fields, Source
from pose_priors.refinement.formats.tracks import Tracks

NAME = "GLAMR"
FILES: tuple[str, ...] = ("grecon/*_seed*.pkl", "*_seed*.pkl")
BESIDE: tuple[str, ...] = ()
_UP = np.array([0.0, 0.0, 1.0])
# GLAMR's points that stand for joints of SMPL; its toes, heels and face do not
_POINT_OF_JOINT = {0: 0, 1: 1, 2: 2, 4: 4, 5: 5, 7: 7, 8: 8, 12: 6, 16: 20, 17: 21, 18: 22, 19: 23, 20: 24, 21: 25}
_NUM_POINTS = 26


def detect(source: Source) -> bool:
    """Whether it is a file, or a folder with one, of people and the cameras that see them."""
    return source.holds(source.file(*FILES), "person_data", "cam_pose")


def read(source: Source, warnings: list[str]) -> UpstreamClip:
    """The clip in the file. Raises `UserError` if it holds something else than GLAMR writes."""
    file = source.existing(source.file(*FILES), NAME)
    fields = Fields(source.load(file), str(file))
    w2c = fields.array("cam_pose", "T", 4, 4)
    people = fields.within("person_data")
    tracks, bodies = Tracks(), []
    intrinsics = np.full((len(w2c), 3, 3), np.nan)
    for key in people.content:
        with left_out(key, warnings):
            body, matrix, about = _person(people, key, len(w2c))
            intrinsics[body.frames] = matrix
            bodies.append(body)
            with left_out(key, warnings, "what was seen"):
                _observe(about, body.person, body.frames, tracks)
    if not bodies:
        raise nobody(file, warnings)
    known = np.isfinite(intrinsics).all((1, 2)) & (intrinsics[:, 0, 0] > 0)
    if not known.any():
        raise UserError(f"{file}: no person has a usable 'cam_K' on a frame on which it is seen")
    intrinsics[~known] = np.median(intrinsics[known], 0)
    cameras = camera_track(f"{file}: 'cam_pose'", w2c[:, :3, :3], w2c[:, :3, 3], intrinsics, inverted=False, fps=USUAL_FPS)
    warnings.append(
        f"{file}: GLAMR's world is metric as far as body size tells: the scale starts at 1; it writes no depth maps and no masks"
    )
    return UpstreamClip(
        cameras=cameras,
        tracks=tracks,
        camera_bodies={},
        world_bodies=people_of(bodies, cameras.frame_ids, str(file), warnings),
        alpha=1.0,
        up=_UP,
    )


def _person(people: Fields, key: str, num_frames: int) -> tuple[BodyTrack, np.ndarray, Fields]:
    """Somebody on the frames on which they are seen, the intrinsics (n, 3, 3) of these, and all that the file has of them."""
    person, about = person_id(key, people.source), people.within(key)
    about.sizes["T"] = num_frames
    rows = np.flatnonzero(about.array("vis_frames", "T") > 0)
    if not len(rows):
        raise UserError(f"{about.source}: is seen on no frame")
    orient, body = about.array("smpl_orient_world", "T", 3), about.array("smpl_pose", "T", 69)
    pose = np.concatenate([orient, body], 1).reshape(-1, 24, 3)[rows]
    pelvis = about.array("root_trans_world", "T", 3)[rows]
    betas = usual_betas(about.array("smpl_beta", "T", None)[rows])
    track = BodyTrack(person, about.source, rows, pose, betas, pelvis, None, transl_is_pelvis=True)
    return track, about.array("cam_K", "T", 3, 3)[rows], about


def _observe(about: Fields, person: int, rows: np.ndarray, tracks: Tracks) -> None:
    if "kp_2d" not in about:
        return
    points, score = about.array("kp_2d", "T", _NUM_POINTS, 2), about.array("kp_2d_score", "T", _NUM_POINTS)
    for row in rows.tolist():
        smpl = np.zeros((24, 3))
        for joint, point in _POINT_OF_JOINT.items():
            smpl[joint] = *points[row, point], score[row, point]
        tracks.add_keypoints(person, row, smpl, "smpl24", about.source)
