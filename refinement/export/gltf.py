"""All people of a clip as one animated glTF file: a skeleton of nodes for each, and a skin that it moves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from pose_priors.body.anny.model import AnnyBody
from pose_priors.body.skin import Skin
from pose_priors.body.surface import Surface
from pose_priors.refinement.export.bvh import TO_Y_UP
from pose_priors.refinement.export.glb import ARRAY_BUFFER, ELEMENT_ARRAY_BUFFER, GlbFile
from pose_priors.refinement.export.people import AnimatedSkeleton, Exported, continuous_quaternions
from pose_priors.refinement.export.skins import COLOURS, skin_of


def write_glb(path: Path, exported: Exported, wear: Surface | AnnyBody | None) -> None:
    """One animation of all people, y up, metres, the floor at y = 0, time 0 at the earliest frame that anybody is on.

    Each person is a node `person_<id>` over the skeleton's nodes, named after its joints; rotations of all joints and the translation of
    the pelvis have a key on every frame. Outside of a person's life the node `person_<id>` is scaled to nothing, which the specification
    names as the way to hide: no pose stands for frames that there are none of. `extras` of the node say which frames of the clip the
    person has, and on which of these nobody saw them.

    Args:
        wear: the surface of a body model, or Anny, to be skinned; None for capsules along the bones.
    """
    file = GlbFile("pose-priors")
    first, last = exported.span
    animation: dict[str, Any] = {"name": exported.name, "samplers": [], "channels": []}
    roots = []
    for number, person in enumerate(exported.people):
        pelvis = _add_skeleton(file, person)
        mesh = _add_skin(file, person, skin_of(person, wear), pelvis, COLOURS[number % len(COLOURS)])
        roots.append(file.add("nodes", {"name": f"person_{person.person:03d}", "children": [pelvis], "extras": person.marks}))
        # a skinned mesh is where its joints are, so its node may stand anywhere, and stands beside them as the specification advises
        roots.append(mesh)
        _animate(file, animation, person, pelvis, roots[-2], exported.fps, first, last)
    file.add("animations", animation)
    file.write(path, roots, {"fps": exported.fps, "first_frame": first})


def _add_skeleton(file: GlbFile, person: AnimatedSkeleton) -> int:
    """Nodes of the joints as they stand on the first frame, consecutive in the order of the joints; returns the first."""
    start = len(file.content["nodes"])
    rotations, pelvis = _rotations(person)[0], person.pelvis[0] @ TO_Y_UP.T
    for joint, name in enumerate(person.names):
        children = [start + child for child, parent in enumerate(person.parents) if parent == joint]
        node = {
            "name": f"{name}_{person.person:03d}",
            "translation": (person.offsets[joint] if joint else pelvis).tolist(),
            "rotation": rotations[joint].tolist(),
        }
        file.add("nodes", node | ({"children": children} if children else {}))
    return start


def _rotations(person: AnimatedSkeleton) -> np.ndarray:
    """(T, J, 4) xyzw unit quaternions, float32, y up."""
    rotmat = person.rotmat.copy()
    rotmat[:, 0] = TO_Y_UP @ rotmat[:, 0]
    return continuous_quaternions(rotmat)


def _add_skin(file: GlbFile, person: AnimatedSkeleton, skin: Skin, pelvis: int, colour: tuple[float, float, float]) -> int:
    attributes = {
        "POSITION": file.accessor(skin.vertices.astype(np.float32), ARRAY_BUFFER),
        "NORMAL": file.accessor(skin.normals.astype(np.float32), ARRAY_BUFFER),
        "JOINTS_0": file.accessor(skin.joints.astype(np.uint8), ARRAY_BUFFER),
        "WEIGHTS_0": file.accessor(skin.weights.astype(np.float32), ARRAY_BUFFER),
    }
    indices = file.accessor(skin.faces.reshape(-1).astype(np.uint32), ELEMENT_ARRAY_BUFFER)
    shading = {"baseColorFactor": [*colour, 1.0], "metallicFactor": 0.0, "roughnessFactor": 0.7}
    material = file.add("materials", {"name": f"person_{person.person:03d}", "pbrMetallicRoughness": shading})
    primitive = {"attributes": attributes, "indices": indices, "material": material}
    mesh = file.add("meshes", {"name": f"skin_{person.person:03d}", "primitives": [primitive]})
    joints = list(range(pelvis, pelvis + len(person.parents)))
    matrices = file.accessor(skin.bind.astype(np.float32))
    bound = file.add("skins", {"joints": joints, "skeleton": pelvis, "inverseBindMatrices": matrices})
    return file.add("nodes", {"name": f"skin_{person.person:03d}", "mesh": mesh, "skin": bound})


def _animate(
    file: GlbFile, animation: dict[str, Any], person: AnimatedSkeleton, pelvis: int, root: int, fps: float, first: int, last: int
) -> None:
    def channel(node: int, path: str, times: int, values: np.ndarray, interpolation: str = "LINEAR") -> None:
        animation["samplers"].append({"input": times, "output": file.accessor(values.astype(np.float32)), "interpolation": interpolation})
        animation["channels"].append({"sampler": len(animation["samplers"]) - 1, "target": {"node": node, "path": path}})

    times = file.accessor(((person.frames - first) / fps).astype(np.float32))
    channel(pelvis, "translation", times, person.pelvis @ TO_Y_UP.T)
    rotations = _rotations(person)
    for joint in range(len(person.parents)):
        channel(pelvis + joint, "rotation", times, rotations[:, joint])
    begins, ends = int(person.frames[0]), int(person.frames[-1]) + 1
    keys = [(first, float(begins == first))] + [(begins, 1.0)] * (begins > first) + [(ends, 0.0)] * (ends <= last)
    if len(keys) > 1:
        frames, sizes = (np.array(column) for column in zip(*keys, strict=True))
        channel(root, "scale", file.accessor(((frames - first) / fps).astype(np.float32)), np.repeat(sizes[:, None], 3, 1), "STEP")
