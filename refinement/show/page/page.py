"""What is on the review page and what is done there: a list of sequences, verdicts by buttons and keys, one frame of one sequence."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from pose_priors.configs.base import UserError
from pose_priors.refinement.result.found import RefinedSequence, selected
from pose_priors.refinement.show.page.controls import Controls, Start
from pose_priors.refinement.show.page.drawing import LEGEND, Drawing
from pose_priors.refinement.show.page.markup import BEHAVIOUR, plain
from pose_priors.refinement.show.page.verdicts import Verdict, Verdicts
from pose_priors.refinement.show.page.views import CAMERA, FREE, PERSON, Eye
from pose_priors.refinement.show.recording_models import Model, find_models
from pose_priors.refinement.show.review_scene import ReviewScene, load_scene
from pose_priors.refinement.show.robots.shown import ShownRobot, find_robots

log = logging.getLogger("review")

_KEYS = {"Good": "G", "Bad": "B", "Previous": "P", "Next": "N", "Play": "K"}


class ReviewPage:
    """The page: what is chosen on it, and what is done then. All who look at it see and move the same.

    Args:
        server: of viser.
        results: the sequences, at least one; the first without a verdict is shown first.
        verdicts: on them, and where new ones go.
        address: of the page, in full.
        start: which of the results, and what is shown of them, at first.
    Raises:
        UserError: if none of the results is wanted.
    """

    def __init__(
        self, server: Any, results: Sequence[RefinedSequence], verdicts: Verdicts, address: str = "", start: Start | None = None
    ) -> None:
        self.address, start = address, start or Start()
        self._server, self._everything, self._verdicts = server, list(results), verdicts
        self._results = selected(results, start.pattern, start.start_idx, start.end_idx)
        self._drawing, self._eye, self._looked = Drawing(server, start.anny), Eye(server), FREE
        self._scene: ReviewScene | None = None
        self._trouble = ""
        self._lock = threading.RLock()
        self._playing = threading.Event()
        self._build(start)
        unmarked = (i for i, result in enumerate(self._results) if verdicts.of(result.name) is None)
        self._current = next(unmarked, 0)
        self.show(self._current)
        threading.Thread(target=self._play, daemon=True).start()

    def _build(self, start: Start) -> None:
        gui = self._server.gui
        gui.configure_theme(show_logo=False, show_share_button=False, control_width="large")
        gui.main_panel.dock_right()
        self._sequence = gui.add_dropdown("Sequence", self._options(), hint="the refined sequences of the folder")
        self._about = gui.add_markdown("")
        self._note = gui.add_text("Note", "", hint="kept in review.csv with the verdict; Enter gives the keys back")
        buttons: dict[str, Callable[[], None]] = {
            "Good": lambda: self.mark("good"),
            "Bad": lambda: self.mark("bad"),
            "Previous": lambda: self.show(self._current - 1),
            "Next": lambda: self.show(self._current + 1),
            "Play": self.toggle,
        }
        for label, options in (("Verdict", ("Good", "Bad")), ("Go to", ("Previous", "Next"))):
            texts = {f"{name} ({_KEYS[name]})": name for name in options}
            gui.add_button_group(label, tuple(texts)).on_click(lambda event, texts=texts: buttons[texts[event.target.value]]())
        for name, action in buttons.items():
            gui.add_command(name, hotkey=_KEYS[name]).on_trigger(lambda _, action=action: action())
        self._frame = gui.add_slider("Frame", 0, 1, 1, 0)
        self._play_button = gui.add_button(self._play_label())
        self._play_button.on_click(lambda _: self.toggle())
        self._controls = Controls(gui, start, self._choose, self._draw)
        gui.add_markdown(LEGEND)
        gui.add_html(BEHAVIOUR)
        self._sequence.on_update(lambda _: self._chosen())
        self._note.on_update(lambda event: self._noted() if event.client is not None else None)
        self._frame.on_update(lambda _: self._draw())

    @property
    def about(self) -> str:
        """What the page says of the sequence at hand, in Markdown."""
        return str(self._about.content)

    @property
    def frame(self) -> int:
        """The number of the frame that is shown."""
        return int(self._frame.value)

    def show(self, index: int) -> None:
        """Loads a sequence and shows its first frame; beyond the first and the last there is none, and the one at hand stays."""
        if not 0 <= index < len(self._results):
            self._say("This is the last sequence." if index > 0 else "This is the first sequence.")
            return
        with self._lock:
            self._playing.clear()
            self._play_button.label = self._play_label()
            self._current, result = index, self._results[index]
            try:
                self._scene, self._trouble = load_scene(result), ""
            except UserError as error:
                self._scene, self._trouble = None, str(error)
                log.warning("%s", error)
            models, robots = self._made_by_others(result)
            self._eye.load(self._scene, result.source())
            with self._server.atomic():
                self._drawing.load(self._scene, models, robots)
                still = any(model.person is None for model in models)
                self._controls.fit(self._scene, self._eye.choices(), background=still, robots=bool(robots) or len(models) > still)
                self._fit_controls()
                mark = self._verdicts.of(result.name)
                self._note.value = "" if mark is None else mark.note
                self._tell()
                self._draw()

    def mark(self, verdict: Verdict) -> None:
        """Gives the sequence at hand a verdict, with the note as it stands."""
        with self._lock:
            name = self._results[self._current].name
            if self._write(name, verdict):
                self._say(f"{name}: {verdict}")

    def toggle(self) -> None:
        """Plays, or stops."""
        with self._lock:
            if self._playing.is_set() or self._frame.disabled:
                self._playing.clear()
            else:
                self._playing.set()
            self._play_button.label = self._play_label()

    def _noted(self) -> None:
        """Of a note that is written, or whose last letters arrive, after the verdict."""
        with self._lock:
            name = self._results[self._current].name
            if (mark := self._verdicts.of(name)) is not None:
                self._write(name, mark.verdict)

    def _write(self, name: str, verdict: Verdict) -> bool:
        """Whether it could be."""
        try:
            self._verdicts.mark(name, verdict, self._note.value)
        except UserError as error:
            log.warning("%s", error)
            self._say(str(error))
            return False
        self._tell()
        return True

    def _fit_controls(self) -> None:
        """To the frames of the sequence."""
        scene = self._scene
        first, last = (0, 1) if scene is None else scene.frames
        self._frame.disabled = self._play_button.disabled = scene is None or first == last
        self._frame.min, self._frame.max = first, max(last, first + 1)  # a slider needs a length
        self._frame.value = first

    def _made_by_others(self, result: RefinedSequence) -> tuple[list[Model], list[ShownRobot]]:
        """Meshes and robots; none, with a line of the log, where they cannot be read."""
        if self._scene is None:
            return [], []
        try:
            return find_models(result.refined), find_robots(result.refined, self._scene.people, self._scene.fps)
        except UserError as error:
            log.warning("%s", error)
            return [], []

    def _choose(self) -> None:
        """The sequences that are wanted now; where there are none, those of before stay."""
        with self._lock:
            try:
                wanted = self._controls.ordered(selected(self._everything, *self._controls.choice))
            except UserError as error:
                self._say(str(error))
                return
            at_hand, self._results = self._results[self._current], wanted
            self.show(next((i for i, result in enumerate(wanted) if result.name == at_hand.name), 0))

    def _tell(self) -> None:
        """What the sequence is, and its verdict."""
        options = self._options()
        self._sequence.value = options[self._current]  # first: a list whose value is not among its options goes to the first of them
        self._sequence.options = options
        result, scene = self._results[self._current], self._scene
        mark = self._verdicts.of(result.name)
        verdict = "none yet" if mark is None else f"**{mark.verdict}**, {plain(mark.time)}"
        lines = [f"{self._current + 1} of {len(self._results)}: **{plain(result.name)}**", f"Verdict: {verdict}"]
        if scene is not None:
            first, last = scene.frames
            lines.append(f"{len(scene.people)} people, {last - first + 1} frames, {scene.fps:g} a second, scale {scene.alpha:.3f}")
            if scene.status != "success":
                lines.append(f"The refinement ended with: {plain(scene.status)}")
            if scene.told.verdict:
                lines += [f"Quality: **{scene.told.verdict}**", *map(plain, scene.told.reasons)]
            if scene.missing:
                lines.append(f"After alone: {plain(scene.missing)}")
        if self._trouble:
            lines.append(f"Cannot be shown: {plain(self._trouble)}")
        self._about.content = "\n\n".join(lines)

    def _options(self) -> tuple[str, ...]:
        """The entries of the drop-down, numbered, so that no two are the same."""
        marks = (self._verdicts.of(result.name) for result in self._results)
        named = zip(self._results, marks, strict=True)
        return tuple(f"{i}. {r.name}" + ("" if m is None else f" ({m.verdict})") for i, (r, m) in enumerate(named, start=1))

    def _chosen(self) -> None:
        index = int(self._sequence.value.split(".", 1)[0]) - 1
        if index != self._current:
            self.show(index)

    def _draw(self) -> None:
        with self._lock:
            if self._scene is None:
                return
            shown, view = self._controls.shown(self.frame), self._controls.view
            if view.startswith(PERSON):  # who looks does not see themselves
                shown = replace(shown, people={**shown.people, int(view.removeprefix(PERSON)): False})
            if view == CAMERA and self._controls.picture:  # the mesh of the scene would hide its picture
                shown = replace(shown, background=False)
            with self._server.atomic():
                self._drawing.show(shown)
                self._eye.look(view, self.frame, picture=self._controls.picture)
                if view == FREE != self._looked:
                    self._drawing.stand()
                self._looked = view

    def _play(self) -> None:
        """Goes on as long as the process: at the pace of the clip, leaving out frames where drawing is slower than that."""
        while True:
            self._playing.wait()
            last = time.monotonic()
            while self._playing.is_set():
                with self._lock:
                    if self._scene is None:
                        break
                    (start, end), pace = self._scene.frames, 1 / self._scene.fps
                    gone = int((time.monotonic() - last) / pace)
                    if gone and self._playing.is_set():
                        last += gone * pace
                        self._frame.value = start + (self.frame - start + gone) % (end - start + 1)
                time.sleep(pace / 2)

    def _play_label(self) -> str:
        return f"{'Pause' if self._playing.is_set() else 'Play'} ({_KEYS['Play']})"

    def _say(self, text: str) -> None:
        for client in self._server.get_clients().values():
            client.add_notification(text, "", auto_close_seconds=3.0)
