"""The controls of the review page that say which sequences are there, and what is shown of one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pose_priors.body.anny.model import AnnyBody
from pose_priors.refinement.result.found import RefinedSequence
from pose_priors.refinement.result.told import told_in
from pose_priors.refinement.show.page.drawing import Shown
from pose_priors.refinement.show.page.views import FREE
from pose_priors.refinement.show.points import EVERY_POINT, PointFilter
from pose_priors.refinement.show.review_scene import ReviewScene

MAX_STEP = 16
"""Every how many rows and columns of a depth map there is a point, at most."""
_BY_NAME, _WORST_FIRST = "by name", "worst first"
_STEEPEST = 0.5  # metres; the slider's end leaves nothing out


@dataclass(frozen=True)
class Start:
    """What the page begins with.

    Attributes:
        pattern, start_idx, end_idx: which sequences, see `result.found.selected`.
        step: every how many rows and columns of a depth map there is a point.
        wanted: which points.
        anny: what people wear, beside their bones, or None.
    """

    pattern: str | None = None
    start_idx: int = 0
    end_idx: int | None = None
    step: int = 4
    wanted: PointFilter = EVERY_POINT
    anny: AnnyBody | None = None


class Controls:
    """Boxes and sliders in two folders.

    Args:
        gui: of viser's server.
        start: what they begin with.
        on_choice: called when other sequences are wanted; on_change: when something else is shown of this one.
    """

    def __init__(self, gui: Any, start: Start, on_choice: Callable[[], None], on_change: Callable[[], None]) -> None:
        self._gui, self._on_change = gui, on_change
        self._people: dict[int, Any] = {}
        with gui.add_folder("Choose", expand_by_default=start.pattern is not None):
            self._pattern = gui.add_text("Pattern", start.pattern or "", hint="names of sequences: jump*, or a word in them; empty for all")
            self._start = gui.add_number("From", start.start_idx, min=0, step=1, hint="of these, by name, counted from 0")
            self._end = gui.add_number("Up to", start.end_idx or 0, min=0, step=1, hint="the first that is left out again; 0 for none")
            self._order = gui.add_dropdown("Order", (_BY_NAME, _WORST_FIRST), hint="by name, or by what the results say of their quality")
        for control in (self._pattern, self._start, self._end, self._order):
            control.on_update(lambda event: on_choice() if event.client is not None else None)
        with gui.add_folder("Show"):
            self._view = gui.add_dropdown("View", (FREE,), hint="look freely, through the camera, or through the eyes of a person")
            self._picture = gui.add_checkbox("Picture", True, hint="what the camera saw, behind what it looks at")
            self._before = gui.add_checkbox("Before", True)
            self._after = gui.add_checkbox("After", True)
            self._surface = gui.add_checkbox(
                "Surface", start.anny is not None, disabled=start.anny is None, hint="Anny's, over the bones after; by --surface anny"
            )
            self._contacts = gui.add_checkbox("Contacts", True)
            self._ground = gui.add_checkbox("Ground", True)
            self._background = gui.add_checkbox("Background", True, hint="the mesh that a program has made of the scene")
            self._robots = gui.add_checkbox("Robots", True, hint="what a retargeter has made of the people")
            self._depth = gui.add_checkbox("Depth", True, hint="points of the depth map of the frame, at the refined scale")
        with gui.add_folder("Points"):
            wanted = start.wanted
            self._step = gui.add_slider(
                "Thinning", 1, MAX_STEP, 1, min(start.step, MAX_STEP), hint="a point every so many rows and columns"
            )
            steepest = _STEEPEST if wanted.gradient is None else min(wanted.gradient, _STEEPEST)
            self._gradient = gui.add_slider(
                "Gradient", 0.01, _STEEPEST, 0.01, steepest, hint="metres by which depth may change from cell to cell; at the end, any"
            )
            self._confidence = gui.add_slider("Confidence", 0.0, 1.0, 0.05, wanted.confidence, hint="that a point has at least")
            self._consistent = gui.add_checkbox(
                "Still", wanted.consistent, hint="points that frames before and after confirm: the background"
            )
        self._people_folder = gui.add_folder("People")
        shown = (self._view, self._picture, self._before, self._after, self._contacts, self._ground, self._background, self._robots)
        for control in (*shown, self._surface, self._depth, self._step, self._gradient, self._confidence, self._consistent):
            control.on_update(lambda _: on_change())

    @property
    def choice(self) -> tuple[str | None, int, int | None]:
        """Pattern, first, and the first that is left out again, of the sequences that are wanted."""
        return self._pattern.value.strip() or None, int(self._start.value), int(self._end.value) or None

    def ordered(self, results: Sequence[RefinedSequence]) -> list[RefinedSequence]:
        """Sequences in the order that is wanted; those that are equally bad by name."""
        if self._order.value == _BY_NAME:
            return list(results)
        return sorted(results, key=lambda result: told_in(result.refined).rank)

    @property
    def view(self) -> str:
        """From where is looked."""
        return str(self._view.value)

    @property
    def picture(self) -> bool:
        """Whether the camera's picture is behind what it sees."""
        return bool(self._picture.value)

    def fit(self, scene: ReviewScene | None, views: tuple[str, ...], *, background: bool, robots: bool) -> None:
        """To a sequence: its people, and whether it has a before, depth, a background and robots."""
        for box in self._people.values():
            box.remove()
        self._people = {}
        if self.view not in views:
            self._view.value = FREE
        self._view.options = views
        self._view.disabled = self._picture.disabled = scene is None
        self._before.disabled = scene is None or scene.clip is None
        has_depth = scene is not None and scene.has_depth
        for control in (self._depth, self._step, self._gradient, self._confidence, self._consistent):
            control.disabled = not has_depth
        self._background.disabled, self._robots.disabled = not background, not robots
        if scene is None:
            return
        with self._people_folder:
            for person in scene.people:
                box = self._gui.add_checkbox(f"Person {person.person}", True)
                box.on_update(lambda _: self._on_change())
                self._people[person.person] = box

    def shown(self, frame: int) -> Shown:
        """What is to be seen on a frame."""
        gradient = float(self._gradient.value)
        return Shown(
            frame=frame,
            people={person: bool(box.value) for person, box in self._people.items()},
            before=self._before.value,
            after=self._after.value,
            ground=self._ground.value,
            contacts=self._contacts.value,
            depth=self._depth.value,
            step=int(self._step.value),
            wanted=PointFilter(None if gradient >= _STEEPEST else gradient, float(self._confidence.value), bool(self._consistent.value)),
            background=self._background.value,
            robots=self._robots.value,
            surface=self._surface.value,
        )
