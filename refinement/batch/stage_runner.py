"""One stage of the pipeline on one or many videos: the program of stage 1, 2 or 3, or stage 4 or 5 as they are done here."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

from pose_priors.configs.base import UserError, reason_of
from pose_priors.configs.base import listed as listed_names
from pose_priors.refinement.batch.around import is_wanted, run_around, run_before
from pose_priors.refinement.batch.commands import PipelineConfig, StageCommand
from pose_priors.refinement.batch.lists import places_of, write_list
from pose_priors.refinement.batch.many import SequenceRefiner
from pose_priors.refinement.batch.programs import check_end, running
from pose_priors.refinement.batch.stage_outputs import (
    NAMES,
    NEEDS,
    begin,
    complete,
    completed,
    done_mark,
    held,
    require_output,
    stage_digest,
)
from pose_priors.refinement.batch.videos import Video
from pose_priors.refinement.result.found import RefinedSequence
from pose_priors.refinement.show.record import write_recordings

log = logging.getLogger("refine")

_POLL_S = 0.2
_MOST_IN_A_LIST = 500  # each holds a descriptor open


@dataclass(frozen=True)
class StageOutcome:
    """What became of one stage of one video.

    Attributes:
        status: `done`; `skipped` where its complete output was there already; `failed`; `missed` where a stage that it needs has no output.
        seconds: wall time; None where unknown.
        reason: of a failure, one line.
        results: of stages 4 and 5, the content of their results.
    """

    video: str
    stage: int
    status: Literal["done", "skipped", "failed", "missed"]
    seconds: float | None = None
    reason: str = ""
    results: dict[str, Any] = field(default_factory=dict)


class _MissedError(UserError):
    """A stage that another one needs is not complete."""


class StageRunner:
    """One stage.

    Args:
        chosen: all stages of this pipeline. What others of them make has to be complete; what is made by none has to be there.
        logs: the folder for what a program prints that handles many videos.
        in_job: whether this is a job, which is warned by signals before it ends.
    Raises:
        UserError: if the stage has no command, a prior cannot be loaded, or the folder not be made.
    """

    def __init__(self, config: PipelineConfig, stage: int, chosen: Sequence[int], logs: Path, *, in_job: bool = False) -> None:
        self.config, self.stage, self.chosen, self.logs, self.in_job = config, stage, chosen, logs, in_job
        self.what = f"stage {stage} ({NAMES[stage]})"
        self.around = stage == 5 and is_wanted(config)
        if stage <= 3:
            self.command = required_command(config, stage)
        else:  # what others make of a result is recorded with it
            record = config.record and not self.around
            self.refiner = SequenceRefiner(config.model_copy(update={"stages": [stage], "record": record}))
        try:
            logs.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"{logs}: cannot be made ({error.strerror}); give an output folder that can be written to") from error

    def one(self, video: Video) -> StageOutcome:
        """The stage of one video. Raises `UserError` if it fails, or a stage that it needs is not complete."""
        self._check_needs(video)
        if self.stage > 3:
            return self._refine(video)
        if self.command.command_many is not None:
            (outcome,) = self._listed([video])
            if outcome.status == "failed":
                raise UserError(outcome.reason)
            return outcome
        with held(video, self.stage) as lock:
            return self._kept(video, digest := self._digest(video)) or self._run(video, digest, lock)

    def many(self, videos: Sequence[Video]) -> Iterator[StageOutcome]:
        """The stage of each video, as they end; one that fails does not stop the others."""
        if self.stage > 3 or self.command.command_many is None:
            yield from (self._guarded(video, self.one) for video in videos)
            return
        ready = []
        for video in videos:
            try:
                self._check_needs(video)
                video.files()
                ready.append(video)
            except UserError as error:
                yield self._failure(video, error)
        for i in range(0, len(ready), _MOST_IN_A_LIST):
            yield from self._listed(ready[i : i + _MOST_IN_A_LIST])

    def _digest(self, video: Video, stage: int | None = None) -> str:
        number = stage or self.stage
        return stage_digest(video, number, self.config.stage_command(number), self.config.wanted)

    def _check_needs(self, video: Video) -> None:
        for needed in NEEDS[self.stage]:
            folder = video.sequence.stage(needed)
            if needed not in self.chosen:
                require_output(needed, folder, self.stage)
            elif completed(folder, needed, self._digest(video, needed)) is None:
                raise _MissedError(f"{self.what} needs stage {needed} ({NAMES[needed]}), which is not complete")

    def _refine(self, video: Video) -> StageOutcome:
        began = time.perf_counter()
        if self.stage == 5:
            run_before(self.config, video, in_job=self.in_job)
        outcome = self.refiner(video.sequence)
        if self.around:
            run_around(self.config, video, in_job=self.in_job)
            if self.config.record:
                result = RefinedSequence(video.name, video.sequence.output, (video.root,))
                write_recordings(result, prior=self.refiner.refiner.priors.body, body_model=self.refiner.options.body_model)
        status: Literal["done", "skipped"] = "skipped" if outcome.status == "skipped" else "done"
        seconds = time.perf_counter() - began if status == "done" else outcome.seconds
        return StageOutcome(video.name, self.stage, status, seconds, results=outcome.results)

    def _kept(self, video: Video, digest: str) -> StageOutcome | None:
        """The outcome of a video whose output is complete and may be kept."""
        if not self.config.input.skip_existing:
            return None
        folder = video.sequence.stage(self.stage)
        if done_mark(folder, digest).exists():  # by a program whose pipeline was killed
            complete(folder, self.stage, digest, None)
        found = completed(folder, self.stage, digest)
        if found is None:
            return None
        log.info("%s: stage %d is complete, skipped", video.name, self.stage)
        return StageOutcome(video.name, self.stage, "skipped", found["seconds"])

    def _run(self, video: Video, digest: str, lock: int) -> StageOutcome:
        """The program for one video."""
        folder, printed = video.sequence.stage(self.stage), video.root / "logs" / f"stage{self.stage}.log"
        begin(folder)
        words = self.command.words(places_of(video, self.stage), self.config.wanted)
        began = time.perf_counter()
        with running(self.what, f"stage{self.stage}", words, printed, held=[lock], in_job=self.in_job) as process:
            process.wait()
        check_end(self.what, process.returncode, printed)
        seconds = time.perf_counter() - began
        complete(folder, self.stage, digest, seconds)
        return StageOutcome(video.name, self.stage, "done", seconds)

    def _listed(self, videos: Sequence[Video]) -> Iterator[StageOutcome]:
        """One program for those of some videos whose output is not complete."""
        with ExitStack() as stack:
            locks = [stack.enter_context(held(video, self.stage)) for video in videos]
            todo: dict[Video, str] = {}
            for video in videos:
                digest = self._digest(video)
                if (kept := self._kept(video, digest)) is not None:
                    yield kept
                else:
                    todo[video] = digest
            if todo:
                yield from self._run_list(todo, locks)

    def _run_list(self, todo: dict[Video, str], locks: Sequence[int]) -> Iterator[StageOutcome]:
        names = "\n".join(video.name for video in todo)
        which = f"stage{self.stage}-{hashlib.sha256(names.encode()).hexdigest()[:8]}"
        listed, printed = self.logs / f"{which}.jsonl", self.logs / f"{which}.log"
        for video in todo:
            begin(video.sequence.stage(self.stage))
        write_list(listed, self.stage, todo)
        words = self.command.words({"list": str(listed)}, self.config.wanted)
        waiting, began = dict(todo), time.perf_counter()
        try:
            with running(self.what, f"stage{self.stage}", words, printed, held=locks, in_job=self.in_job) as process:
                while process.poll() is None:
                    time.sleep(_POLL_S)
                    for outcome in self._marked(waiting, began):
                        began = time.perf_counter()
                        yield outcome
            yield from self._marked(waiting, began)
            check_end(self.what, process.returncode, printed)
        except UserError as error:
            log.error("error: %s: %s", listed_names([video.name for video in waiting]), error)
            yield from (StageOutcome(video.name, self.stage, "failed", reason=str(error)) for video in waiting)
            return
        for video, digest in waiting.items():
            yield self._guarded(video, partial(self._stamped, digest=digest, seconds=None))

    def _marked(self, waiting: dict[Video, str], began: float) -> Iterator[StageOutcome]:
        """Those of the waiting of which the program says that they are complete; they wait no longer."""
        for video, digest in list(waiting.items()):
            if done_mark(video.sequence.stage(self.stage), digest).exists():
                del waiting[video]
                seconds = time.perf_counter() - began
                yield self._guarded(video, partial(self._stamped, digest=digest, seconds=seconds))

    def _stamped(self, video: Video, digest: str, seconds: float | None) -> StageOutcome:
        complete(video.sequence.stage(self.stage), self.stage, digest, seconds)
        return StageOutcome(video.name, self.stage, "done", seconds)

    def _guarded(self, video: Video, act: Callable[[Video], StageOutcome]) -> StageOutcome:
        try:
            return act(video)
        except UserError as error:
            return self._failure(video, error)
        except Exception as error:
            log.exception("%s: a defect of this program, not of the input; the other videos go on", video.name)
            reason = f"a defect of this program, {type(error).__name__}: {reason_of(error)}"
            return StageOutcome(video.name, self.stage, "failed", reason=reason)

    def _failure(self, video: Video, error: UserError) -> StageOutcome:
        log.error("error: %s: %s", video.name, error)
        return StageOutcome(video.name, self.stage, "missed" if isinstance(error, _MissedError) else "failed", reason=str(error))


def required_command(config: PipelineConfig, stage: int) -> StageCommand:
    """The program of stage 1, 2 or 3; logs which wishes it cannot be told. Raises `UserError` if there is none."""
    command, wanted = config.stage_command(stage), config.wanted
    if command.command is None and command.command_many is None:
        raise UserError(
            f"stage{stage}.command is not given; it is the program of stage {stage} ({NAMES[stage]}). Without one, leave the stage out"
        )
    if wanted.max_frames is not None and command.max_frames is None:
        most = wanted.max_frames
        log.warning("stage%d.max_frames is not given: it works on all frames, stages 4 and 5 on the first %d", stage, most)
    if wanted.person_ids is not None and command.person_ids is None and stage == 3:
        log.warning("stage3.person_ids is not given: it works on all people, stages 4 and 5 on those of input.person_ids")
    return command
