"""Masks as tools write them: truth values, brightness, numbers of people, palettes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pose_priors.refinement.formats.masks import Masks

PERSON = np.zeros((6, 8), bool)
PERSON[1:4, 2:7] = True


def palette(number: int) -> Image.Image:
    image = Image.fromarray(PERSON.astype(np.uint8) * number).convert("P")
    image.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0] + [0] * 759)
    return image


@pytest.mark.parametrize(
    "content",
    [
        PERSON,
        PERSON.astype(np.uint8),
        PERSON.astype(np.uint8) * 255,
        PERSON.astype(np.uint8) * 7,
        PERSON.astype(np.int64) * 300,
        PERSON.astype(np.float32),
        PERSON[None],
        Image.fromarray(PERSON.astype(np.uint8) * 255),
        Image.fromarray(PERSON),
        palette(1),
        palette(2),
    ],
    ids=["truth", "one", "bright", "number", "large number", "float", "leading", "png", "png of bits", "palette", "palette of the second"],
)
def test_the_person_is_what_is_not_nothing(tmp_path: Path, content: np.ndarray | Image.Image) -> None:
    (tmp_path / "masks").mkdir()
    name = tmp_path / "masks" / "frame_000003_person_002"
    if isinstance(content, np.ndarray):
        np.save(name.with_suffix(".npy"), content)
    else:
        content.save(name.with_suffix(".png"))
    warnings: list[str] = []
    masks = Masks(tmp_path, warnings)
    np.testing.assert_array_equal(masks.read(2, 3), PERSON)
    masks.close()
    assert warnings == []


def test_a_smoothed_rim_is_half_on_the_person(tmp_path: Path) -> None:
    (tmp_path / "masks").mkdir()
    np.save(tmp_path / "masks" / "person_1_frame_1.npy", np.array([[0, 100, 200, 255], [0, 0, 0, 0]], np.uint8))
    mask = Masks(tmp_path, []).read(1, 1)
    assert mask is not None
    assert mask.tolist() == [[False, False, True, True], [False] * 4]
