"""Recordings read back, and what they were made from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from rerun.chunk import RrdReader
from scenes import Clip

SHORT = [
    f"refinement.{name}_iterations=2" for name in ("root_fitting", "smpl_fitting", "motion_prior", "environmental", "scale", "final")
] + ["trainer.enable_progress_bar=false"]
HIDDEN = range(5, 8)
LAST = 11


class Rrd:
    """A recording, read back: rows by entity, timeline and component."""

    def __init__(self, path: Path) -> None:
        reader = RrdReader(path)
        self.recordings, self.blueprints = reader.recordings(), reader.blueprints()
        self.rows: dict[str, dict[str, list[tuple[int, Any]]]] = {}
        self.static: dict[str, dict[str, Any]] = {}
        for chunk in reader.store(store=self.recordings[0]).stream():
            entity = chunk.entity_path
            batch = chunk.to_record_batch()
            columns = {name: batch.column(name).to_pylist() for name in batch.schema.names if name != "time"}
            times = columns.get("frame", columns.get("iteration"))
            for name, values in columns.items():
                part = name.split(":", 1)[-1]
                if times is None:
                    self.static.setdefault(entity, {}).setdefault(part, values[0])
                else:
                    kept = [(int(t), v) for t, v in zip(times, values, strict=True) if v is not None]
                    self.rows.setdefault(entity, {}).setdefault(part, []).extend(kept)

    @property
    def entities(self) -> set[str]:
        return {entity for entity in {*self.rows, *self.static} if not entity.startswith("/__")}

    def column(self, entity: str, part: str) -> dict[int, np.ndarray]:
        """The values of a component by time."""
        return {t: np.array(v) for t, v in sorted(self.rows[entity][part], key=lambda row: row[0])}

    def shown(self, entity: str, part: str, frame: int) -> np.ndarray | None:
        """What the viewer shows on a frame: the latest value, unless it was cleared since, here or above."""
        times = [t for t in self.column(entity, part) if t <= frame]
        above = ["/".join(entity.split("/")[:n]) for n in range(2, entity.count("/") + 2)]
        cleared = [t for e in above for t, _ in self.rows.get(e, {}).get("is_recursive", []) if t <= frame]
        if not times or max(cleared, default=-1) >= max(times):
            return None
        return self.column(entity, part)[max(times)]


def output(clip: Clip) -> Path:
    return clip.folder / "5_refinement"


def refined(clip: Clip, person: int) -> dict[str, np.ndarray]:
    with np.load(output(clip) / f"person_{person:03d}" / "smpl_params_refined.npz") as arrays:
        return dict(arrays)


def people(rrd: Rrd) -> set[str]:
    return {entity.split("/")[2] for entity in rrd.entities if entity.startswith("/world/person")}
