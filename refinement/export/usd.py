"""All people of a clip as a stage of OpenUSD: a skeleton, its animation and the skin that it moves for each (UsdSkel)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pxr import Gf, Sdf, Tf, Usd, UsdGeom, UsdShade, UsdSkel, Vt

from pose_priors.body.anny.model import AnnyBody
from pose_priors.body.skin import INFLUENCES, Skin
from pose_priors.body.surface import Surface
from pose_priors.configs.base import reason_of
from pose_priors.refinement.export.people import AnimatedSkeleton, Exported, continuous_quaternions
from pose_priors.refinement.export.skins import COLOURS, skin_of

_WORLD = "/World"


def write_usd(path: Path, exported: Exported, wear: Surface | AnnyBody | None) -> None:
    """One stage of all people, z up, metres, the floor at z = 0; a time code is a frame number of the clip.

    Each person is a `SkelRoot` `/World/person_<id>` over a `Skeleton` with the person's joints, a `SkelAnimation` with the rotations of all
    joints and the place of the pelvis on every frame of the person's life, and a `Mesh`. Outside of that life it is invisible.
    `customData` say which frames of the clip the person has, and on which of these nobody saw them.

    Args:
        wear: the surface of a body model, or Anny, to be skinned; None for capsules along the bones.
    Raises:
        OSError: if the file cannot be written.
    """
    stage = Usd.Stage.CreateNew(str(path))
    UsdGeom.SetStageUpAxis(stage, UsdGeom.Tokens.z)
    UsdGeom.SetStageMetersPerUnit(stage, 1.0)
    first, last = exported.span
    stage.SetTimeCodesPerSecond(exported.fps)
    stage.SetFramesPerSecond(exported.fps)
    stage.SetStartTimeCode(first)
    stage.SetEndTimeCode(last)
    stage.SetDefaultPrim(UsdGeom.Xform.Define(stage, _WORLD).GetPrim())
    for number, person in enumerate(exported.people):
        skin = skin_of(person, wear)
        at = f"{_WORLD}/person_{person.person:03d}"
        root = UsdSkel.Root.Define(stage, at)
        _add_life(root, person, first, last)
        skeleton = _add_skeleton(stage, at, person, skin)
        _add_mesh(stage, at, skin, skeleton, COLOURS[number % len(COLOURS)])
        _add_extent(root, person, skin)
    try:
        stage.GetRootLayer().Save()
    except Tf.ErrorException as error:
        raise OSError(reason_of(getattr(error.args[0], "commentary", error))) from error  # of the first of USD's own errors


def _add_life(root: UsdSkel.Root, person: AnimatedSkeleton, first: int, last: int) -> None:
    begins, ends = int(person.frames[0]), int(person.frames[-1])
    marks = {name: Vt.Int64Array(mark) if isinstance(mark, list) else mark for name, mark in person.marks.items()}
    root.GetPrim().SetCustomData(marks)
    visibility = root.CreateVisibilityAttr()
    if begins > first:
        visibility.Set(UsdGeom.Tokens.invisible, first)
    if begins > first or ends < last:
        visibility.Set(UsdGeom.Tokens.inherited, begins)
    if ends < last:
        visibility.Set(UsdGeom.Tokens.invisible, ends + 1)


def _add_skeleton(stage: Usd.Stage, at: str, person: AnimatedSkeleton, skin: Skin) -> UsdSkel.Skeleton:
    """The skeleton at rest and bound as the skin is, and its animation."""
    paths: list[str] = []
    for name, parent in zip(person.names, person.parents, strict=True):
        paths.append(name if parent < 0 else f"{paths[parent]}/{name}")
    rest = np.tile(np.eye(4), (len(paths), 1, 1))
    rest[:, :3, 3] = person.offsets
    skeleton = UsdSkel.Skeleton.Define(stage, f"{at}/skeleton")
    skeleton.CreateJointsAttr(paths)
    # USD multiplies rows from the left; a skin's `bind` goes from the mesh to the joint, USD's the other way
    skeleton.CreateBindTransformsAttr(_matrices(np.linalg.inv(skin.bind)))
    skeleton.CreateRestTransformsAttr(_matrices(rest))
    motion = UsdSkel.Animation.Define(stage, f"{at}/motion")
    motion.CreateJointsAttr(paths)
    motion.CreateScalesAttr(Vt.Vec3hArray.FromNumpy(np.ones((len(paths), 3), np.float16)))
    translations, rotations = motion.CreateTranslationsAttr(), motion.CreateRotationsAttr()
    quaternions = continuous_quaternions(person.rotmat)
    places = person.offsets.astype(np.float32)
    for frame, pelvis, quaternion in zip(person.frames.tolist(), person.pelvis, quaternions, strict=True):
        places[0] = pelvis
        translations.Set(Vt.Vec3fArray.FromNumpy(places), frame)
        rotations.Set(Vt.QuatfArray.FromNumpy(quaternion), frame)
    UsdSkel.BindingAPI.Apply(skeleton.GetPrim()).CreateAnimationSourceRel().SetTargets([motion.GetPath()])
    return skeleton


def _add_mesh(stage: Usd.Stage, at: str, skin: Skin, skeleton: UsdSkel.Skeleton, colour: tuple[float, float, float]) -> None:
    mesh = UsdGeom.Mesh.Define(stage, f"{at}/skin")
    points = Vt.Vec3fArray.FromNumpy(skin.vertices.astype(np.float32))
    mesh.CreatePointsAttr(points)
    mesh.CreateFaceVertexCountsAttr(Vt.IntArray.FromNumpy(np.full(len(skin.faces), 3, np.int32)))
    mesh.CreateFaceVertexIndicesAttr(Vt.IntArray.FromNumpy(skin.faces.reshape(-1).astype(np.int32)))
    mesh.CreateNormalsAttr(Vt.Vec3fArray.FromNumpy(skin.normals.astype(np.float32)))
    mesh.SetNormalsInterpolation(UsdGeom.Tokens.vertex)
    mesh.CreateSubdivisionSchemeAttr(UsdGeom.Tokens.none)
    mesh.CreateExtentAttr(UsdGeom.PointBased.ComputeExtent(points))
    mesh.CreateDisplayColorPrimvar(UsdGeom.Tokens.constant).Set([Gf.Vec3f(*colour)])
    binding = UsdSkel.BindingAPI.Apply(mesh.GetPrim())
    binding.CreateSkeletonRel().SetTargets([skeleton.GetPath()])
    binding.CreateGeomBindTransformAttr(Gf.Matrix4d(1.0))
    binding.CreateJointIndicesPrimvar(False, INFLUENCES).Set(Vt.IntArray.FromNumpy(skin.joints.reshape(-1).astype(np.int32)))
    binding.CreateJointWeightsPrimvar(False, INFLUENCES).Set(Vt.FloatArray.FromNumpy(skin.weights.reshape(-1).astype(np.float32)))
    material = UsdShade.Material.Define(stage, f"{at}/material")
    shader = UsdShade.Shader.Define(stage, f"{at}/material/surface")
    shader.CreateIdAttr("UsdPreviewSurface")
    shader.CreateInput("diffuseColor", Sdf.ValueTypeNames.Color3f).Set(Gf.Vec3f(*colour))
    shader.CreateInput("roughness", Sdf.ValueTypeNames.Float).Set(0.7)
    material.CreateSurfaceOutput().ConnectToSource(shader.ConnectableAPI(), "surface")
    UsdShade.MaterialBindingAPI.Apply(mesh.GetPrim()).Bind(material)


def _add_extent(root: UsdSkel.Root, person: AnimatedSkeleton, skin: Skin) -> None:
    """A box on every frame that holds the posed skin: a vertex is a mean of places, each as far from a joint as in the unposed skin."""
    bind = skin.bind[skin.joints]
    from_joints = np.einsum("vkxy,vy->vkx", bind[..., :3, :3], skin.vertices) + bind[..., :3, 3]
    reach = float((np.linalg.norm(from_joints, axis=-1) * (skin.weights > 0)).max())
    extent = root.CreateExtentAttr()
    for frame, joints in zip(person.frames.tolist(), person.joints, strict=True):
        extent.Set(Vt.Vec3fArray.FromNumpy(np.stack([joints.min(0) - reach, joints.max(0) + reach]).astype(np.float32)), frame)


def _matrices(values: np.ndarray) -> Vt.Matrix4dArray:
    """Matrices (N, 4, 4) for columns as USD's, which are for rows."""
    return Vt.Matrix4dArray.FromNumpy(np.ascontiguousarray(values.transpose(0, 2, 1)))
