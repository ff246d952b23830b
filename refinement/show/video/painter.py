"""Draws capsules as a camera sees them, shaded, the nearer before the farther: each where the rays through the pixels around it meet it.

Rays and capsules whose ends differ in thickness meet as in Quilez, "Rounded cone intersection" (iquilezles.org/articles/intersectors).
"""

from __future__ import annotations

import numpy as np

from pose_priors.body.pinhole import to_pixels, unproject

NEAREST_M = 0.05
"""Metres; what comes nearer to the camera is left out."""
_LIGHT = np.array([-0.45, -0.7, -0.55]) / np.linalg.norm([-0.45, -0.7, -0.55])  # from the upper left, behind the camera
_AMBIENT, _RIM = 0.4, 0.35  # of the light; how much darker an edge that turns away is


class Painter:
    """One picture that is being drawn.

    Args:
        size: width and height in pixels.
        intrinsics: (3, 3) in pixels of this picture.
    """

    def __init__(self, size: tuple[int, int], intrinsics: np.ndarray) -> None:
        self.size, self.intrinsics = size, intrinsics
        self.depth = np.full((size[1], size[0]), np.inf, np.float32)
        self.shade = np.zeros((size[1], size[0]), np.float32)
        self.owner = np.full((size[1], size[0]), -1, np.int16)
        centres = np.stack(np.meshgrid(np.arange(size[0]) + 0.5, np.arange(size[1]) + 0.5), -1)
        rays = unproject(centres, np.ones((size[1], size[0])), intrinsics)
        self._rays = rays / np.linalg.norm(rays, axis=-1, keepdims=True)

    def draw(self, ends: np.ndarray, radii: np.ndarray, owner: int) -> None:
        """Draws capsules.

        Args:
            ends: (K, 2, 3) metres, in the camera's axes (x right, y down, z forward).
            radii: (K, 2) metres.
            owner: whose they are, kept in `owner` (h, w) beside `depth` (h, w), metres, and `shade` (h, w) in [0, 1]; -1 where nobody is.
        """
        in_front = (ends[..., 2] - radii > NEAREST_M).all(1) & np.isfinite(ends).all((1, 2))
        ends, radii = ends[in_front], radii[in_front]
        boxes = self._boxes(ends, radii)
        for k in np.flatnonzero((boxes[:, :2] < boxes[:, 2:]).all(1)):
            self._draw_one(boxes[k], ends[k], radii[k], owner)

    def _boxes(self, ends: np.ndarray, radii: np.ndarray) -> np.ndarray:
        """(K, 4) whole pixels left, top, right, bottom that hold all that is seen of capsules: between the tangents to their ends."""
        middle = np.arctan2(ends[..., :2], ends[..., 2:])
        spread = np.arcsin(
            radii[..., None] / np.linalg.norm(np.stack([ends[..., :2], np.broadcast_to(ends[..., 2:], middle.shape)]), axis=0)
        )
        low, high = np.tan(middle - spread).min(1), np.tan(middle + spread).max(1)
        corners = np.stack([low, high, np.stack([low[:, 0], high[:, 1]], 1), np.stack([high[:, 0], low[:, 1]], 1)], 1)
        pixels = to_pixels(corners, self.intrinsics)
        bounds = [np.floor(pixels.min(1)).clip(0, self.size), np.ceil(pixels.max(1)).clip(0, self.size)]
        boxes: np.ndarray = np.concatenate(bounds, 1).astype(int)
        return boxes

    def _draw_one(self, box: np.ndarray, ends: np.ndarray, radii: np.ndarray, owner: int) -> None:
        at = (slice(box[1], box[3]), slice(box[0], box[2]))
        rays = self._rays[at]
        (a, b), (radius_a, radius_b) = ends, radii
        along, thinner = b - a, radius_a - radius_b
        ray_along, ray_a, ray_b = rays @ along, rays @ a, rays @ b
        found = np.minimum(_ball(ray_a, a, radius_a), _ball(ray_b, b, radius_b))
        normal_is_of_b = _ball(ray_b, b, radius_b) <= found
        # the cone that touches both balls; where one ball is within the other there is none
        length2 = along @ along - thinner**2
        on_cone = np.zeros(found.shape, bool)
        height = np.zeros_like(found)
        if length2 > 0:
            a_along = -(a @ along)
            k2 = length2 - ray_along**2
            k1 = -length2 * ray_a - a_along * ray_along + ray_along * thinner * radius_a
            k0 = length2 * (a @ a) - a_along**2 + 2 * a_along * thinner * radius_a - (along @ along) * radius_a**2
            root = k1**2 - k0 * k2
            with np.errstate(invalid="ignore", divide="ignore"):
                cone = (-np.sqrt(root) - k1) / k2
                height = a_along - radius_a * thinner + cone * ray_along
                on_cone = (root >= 0) & (height > 0) & (height < length2) & (cone < found)
            found = np.where(on_cone, cone, found)
        depth = found * rays[..., 2]
        nearer = np.isfinite(found) & (depth < self.depth[at])
        if not nearer.any():
            return
        rays, found, on_cone = rays[nearer], found[nearer], on_cone[nearer]
        points = rays * found[:, None]
        normals = points - np.where(normal_is_of_b[nearer][:, None], b, a)
        normals = np.where(on_cone[:, None], length2 * (points - a) - height[nearer][:, None] * along, normals)
        normals /= np.linalg.norm(normals, axis=1, keepdims=True)
        self.depth[at][nearer] = depth[nearer]
        self.shade[at][nearer] = lit(rays, normals)
        self.owner[at][nearer] = owner


def lit(rays: np.ndarray, normals: np.ndarray) -> np.ndarray:
    """(N,) in [0, 1] how light surfaces of unit normals (N, 3) are that are seen along unit rays (N, 3) from the camera, in its axes."""
    towards = np.clip(-(normals * rays).sum(1), 0, 1)
    light = np.maximum(0, normals @ _LIGHT)
    shade: np.ndarray = (_AMBIENT + (1 - _AMBIENT) * light) * (1 - _RIM + _RIM * towards)
    return shade


def _ball(ray_along: np.ndarray, centre: np.ndarray, radius: float) -> np.ndarray:
    """How far along unit rays a ball is met, inf where it is not."""
    root = ray_along**2 - centre @ centre + radius**2
    met: np.ndarray = np.where(root >= 0, ray_along - np.sqrt(np.maximum(root, 0)), np.inf)
    return met
