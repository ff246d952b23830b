"""What there is to see of one refined sequence: its people before and after, the floor, and depth as points."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy.spatial.transform import Rotation

from pose_priors.body.layout import layout
from pose_priors.body.pinhole import pixel_centres, to_world, unproject
from pose_priors.body.skeleton import index_of
from pose_priors.configs.base import UserError
from pose_priors.refinement.formats import read_upstream
from pose_priors.refinement.formats.cameras import USUAL_FPS
from pose_priors.refinement.formats.clip import UpstreamClip
from pose_priors.refinement.formats.files import existing_file, read_json
from pose_priors.refinement.given.skeletons import assemble, recover
from pose_priors.refinement.given.start import arranged, carried_into_cameras, scaled
from pose_priors.refinement.result.found import RefinedSequence
from pose_priors.refinement.result.metrics import FEET, Track
from pose_priors.refinement.result.people import RefinedPerson, read_person, stated_fps
from pose_priors.refinement.result.told import Told, told_by
from pose_priors.refinement.result.write import RESULTS
from pose_priors.refinement.show.camera_path import CameraPath, cameras_at_scale, cameras_of
from pose_priors.refinement.show.points import EVERY_POINT, PointFilter, filtered, is_background

_TO_THE_HEAD = [index_of(name) for name in ("pelvis", "spine1", "spine2", "spine3", "neck", "head")]


@dataclass(frozen=True)
class ShownPerson:
    """One refined person, before and after.

    Attributes:
        person: the tracker's id.
        before: as the input has them, in the world at the scale that the refinement started from; None where the input is not known.
        after: as refined.
        seen: (n,) bool, on which frames of `after` the input sees them.
        contacts: (n, 4) in [0, 1], how surely each of `metrics.FEET` rests on the floor.
        gaze: (n, 3) unit vector, where the face looks, world; None where it is not asked for.
        pose, pose_before: (n, J, 3) rotation vectors on the rows of `after` and of `before`, the first relative to the world; or None.
    """

    person: int
    before: Track | None
    after: Track
    seen: np.ndarray
    contacts: np.ndarray
    gaze: np.ndarray | None = None
    pose: np.ndarray | None = None
    pose_before: np.ndarray | None = None


@dataclass(frozen=True)
class ReviewScene:
    """One sequence, small things in memory; depth maps are read one at a time.

    Attributes:
        people: ascending by id.
        frames: the numbers of the first and the last frame.
        fps: frames a second.
        ground_plane: (4,) up-facing unit normal n and d with n.x + d = 0, metres.
        alpha: metric = alpha * the cameras' unit.
        cameras: where the pictures were taken from.
        status, told: what `refinement_results.json` says.
        clip: the input, None where it is not known.
        missing: why it is not, one line; empty where it is.
        cameras_before: the input's, at the scale that `ShownPerson.before` has, on all frames of the clip; None where it is not known.
    """

    people: tuple[ShownPerson, ...]
    frames: tuple[int, int]
    fps: float
    ground_plane: np.ndarray
    alpha: float
    cameras: CameraPath
    status: str
    clip: UpstreamClip | None
    missing: str
    told: Told = field(default_factory=Told)
    cameras_before: CameraPath | None = None

    @property
    def has_depth(self) -> bool:
        """Whether there are depth maps, or a cloud of points."""
        clip = self.clip
        if clip is None:
            return False
        return len(clip.cloud) > 0 or any(clip.depth.read(frame) is not None for frame in clip.cameras.frame_ids.tolist())

    def depth_points(self, frame: int, step: int, wanted: PointFilter = EVERY_POINT) -> np.ndarray:
        """(N, 3) metres, world: every `step`-th row and column of a frame's depth map that is wanted; without maps, as thinned a cloud."""
        if self.clip is None:
            return np.zeros((0, 3))
        cameras = self.clip.cameras
        at = frame - int(cameras.frame_ids[0])
        found = self.clip.depth.read(frame) if 0 <= at < len(cameras.frame_ids) else None
        if found is None:
            return self.clip.cloud[:: step**2] * self.alpha
        rows, columns, centres = pixel_centres(found[0].shape, cameras.image_size, step)
        kept = filtered(wanted, *found, rows, columns, self.alpha)
        depth = found[0][rows, columns].astype(float)
        points: np.ndarray = to_world(unproject(centres[kept], depth[kept], cameras.intrinsics[at]), cameras.w2c[at])
        if wanted.consistent:
            points = points[is_background(points, frame, cameras, self.clip.depth, self.fps)]
        return points * self.alpha


def load_scene(result: RefinedSequence) -> ReviewScene:
    """Reads a result, and its input where that is known. What is wrong with the input leaves it out, and is told in `missing`.

    Raises:
        UserError: if the result cannot be read.
    """
    results = read_json(existing_file(result.refined / RESULTS, "what came out of a refinement"))
    ids = sorted(int(person) for person in results.get("per_person_likelihoods", {}) if person.isdigit())
    if not ids:
        raise UserError(f"{result.refined / RESULTS}: names no person; refine the sequence again")
    people = [read_person(result.refined, person) for person in ids]
    contacts = [_of_feet(person) for person in people]
    last = people[-1]
    clip: UpstreamClip | None
    before: dict[int, tuple[Track, np.ndarray]] = {}
    clip, cameras_before, missing = None, None, ""
    alpha_before = last.scale_alpha / (1 + last.scale_delta)
    try:
        if (source := result.source()) is None:
            raise UserError("the input is not beside the result; give its folder with --input")
        clip = read_upstream(source, [])
        before = _before(clip, alpha_before)
        cameras_before = cameras_at_scale(clip.cameras, alpha_before)
    except UserError as error:
        clip, cameras_before, missing = None, None, str(error)
    frames = [person.track.frames for person in people]
    fps = stated_fps(result.refined) if clip is None else clip.cameras.fps
    return ReviewScene(
        people=tuple(
            ShownPerson(
                person.person,
                before[person.person][0] if person.person in before else None,
                person.track,
                person.visible,
                of_feet,
                _gaze(person),
                person.pose,
                before[person.person][1] if person.person in before else None,
            )
            for person, of_feet in zip(people, contacts, strict=True)
        ),
        frames=(int(min(rows[0] for rows in frames)), int(max(rows[-1] for rows in frames))),
        fps=fps or USUAL_FPS,
        ground_plane=last.ground_plane,
        alpha=last.scale_alpha,
        cameras=cameras_of(people, None if clip is None else clip.cameras.image_size),
        status=str(results.get("status")),
        clip=clip,
        missing=missing,
        told=told_by(results),
        cameras_before=cameras_before,
    )


def _gaze(person: RefinedPerson) -> np.ndarray:
    """(n, 3) where the face looks: along z of the head, which turns with all joints below it."""
    pose = person.pose
    turn = Rotation.identity(len(pose))
    for joint in _TO_THE_HEAD:
        turn = turn * Rotation.from_rotvec(pose[:, joint])
    looks: np.ndarray = turn.apply([0.0, 0.0, 1.0])
    return looks


def _of_feet(person: RefinedPerson) -> np.ndarray:
    """(n, 4) the contacts of a person. Raises `UserError` if they are of other joints than `metrics.FEET`."""
    if person.contacts.shape[1] != len(FEET):
        raise UserError(f"{person.arrays.path}: 'contacts' of {person.contacts.shape[1]} joints; {len(FEET)} are expected: ankles and feet")
    return person.contacts


def _before(clip: UpstreamClip, alpha: float) -> dict[int, tuple[Track, np.ndarray]]:
    """The people of the input by id, carried into the world by its cameras at a scale, on the frames that they are seen on, and their poses
    as in `ShownPerson`."""
    tracks = clip.camera_bodies or clip.world_bodies
    of = layout(max((track.pose.shape[1] for track in tracks.values()), key=(22, 24, 55).index))
    bodies = assemble([recover(track, of, None, []) for track in tracks.values()], [track.betas for track in tracks.values()], of)
    if not clip.camera_bodies:
        clip = carried_into_cameras(clip, bodies)
    frames = clip.cameras.frame_ids
    people = arranged(clip.camera_bodies, tuple(tracks), frames, bodies)
    joints = to_world(people.joints(bodies), scaled(clip.cameras.w2c, alpha))
    pose, to_the_world = people.pose.copy(), Rotation.from_matrix(clip.cameras.w2c[:, :3, :3]).inv()
    for own in pose:
        own[:, 0] = (to_the_world * Rotation.from_rotvec(own[:, 0])).as_rotvec()
    return {
        person: (Track(frames[seen], joints[p][seen]), pose[p][seen])
        for p, (person, seen) in enumerate(zip(tracks, people.seen, strict=True))
    }
