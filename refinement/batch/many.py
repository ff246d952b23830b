"""Many sequences in one process: whatever they share is loaded once, one that fails does not stop the others, finished ones are kept."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from pose_priors.configs.base import UserError, reason_of
from pose_priors.configs.progress import progress_bar
from pose_priors.datamodules.stage_folders import STAGES
from pose_priors.refinement.batch.digest import completed, completed_world, config_digest, outcome_digest
from pose_priors.refinement.batch.experiment import RefinementExperiment
from pose_priors.refinement.batch.outcomes import SequenceOutcome, write_summary
from pose_priors.refinement.batch.per_person import print_comparison, refine_apart
from pose_priors.refinement.formats.camera_files import files_of_cameras
from pose_priors.refinement.formats.files import read_json
from pose_priors.refinement.formats.sequence import InputSequence
from pose_priors.refinement.formats.witnesses.beside import files_in
from pose_priors.refinement.given.load import load_problem, load_sequence
from pose_priors.refinement.given.options import LoadOptions
from pose_priors.refinement.given.people import PersonSelection
from pose_priors.refinement.given.priors import load_priors
from pose_priors.refinement.given.problem import Problem
from pose_priors.refinement.refiner import Stage5Refiner, refine_into
from pose_priors.refinement.result.found import RefinedSequence
from pose_priors.refinement.result.world import to_world_space
from pose_priors.refinement.result.write import METRICS
from pose_priors.refinement.show.recording_files import recording_files

log = logging.getLogger("refine")


class SequenceRefiner:
    """Runs the stages of a configuration on sequences, one after the other.

    Args:
        config: which sequences it asks for does not matter here.
    Raises:
        UserError: if a prior cannot be loaded.
    """

    def __init__(self, config: RefinementExperiment) -> None:
        self.config, self.options = config, config.load_options()
        if 5 in config.stages:
            if config.record:
                from pose_priors.refinement.show.record import require_rerun  # what draws, as in `_record`

                require_rerun()
            priors = load_priors(config.prior.body, config.prior.hands, config.motion_prior.path, config.prior.allow)
            self.refiner = Stage5Refiner(config.refinement, priors=priors, trainer=config.trainer)
        self.digest = config_digest(config)

    def __call__(self, sequence: InputSequence) -> SequenceOutcome:
        """The outcome of one sequence, never a failed one. Raises `UserError` on bad input."""
        steps = {4: self._carry, 5: self._refine}
        return [steps[stage](sequence) for stage in self.config.stages][-1]

    def _carry(self, sequence: InputSequence) -> SequenceOutcome:
        """Stage 4."""
        if not sequence.staged:
            raise UserError(f"{sequence.path}: stage 4 carries {STAGES[3]} into the world, and there is none; refine it with stages=[5]")
        digest = outcome_digest(self.digest, sequence.files((1, 2, 3)))
        found = completed_world(sequence.world, digest) if self.config.input.skip_existing else None
        if found is not None:
            log.info("%s: stage 4 is complete, skipped", sequence.name)
        about = found
        if about is None:
            about = to_world_space(
                sequence.stage(1),
                sequence.stage(3),
                sequence.world,
                stage2_dir=sequence.stage(2) if sequence.stage(2).is_dir() else None,
                options=self.options,
                digest=digest,
            )
            log.info("%s: %d people carried into the world, to %s", sequence.name, about["num_people"], sequence.world)
        return SequenceOutcome(
            sequence.name,
            "success" if found is None else "skipped",
            frames=about["num_frames"],
            people=about["num_people"],
            results=about,
        )

    def _refine(self, sequence: InputSequence) -> SequenceOutcome:
        """Stage 5."""
        given, output = self.config.input, sequence.output
        gravity, contacts = sequence.witness("gravity", given.gravity), sequence.witness("contacts", given.contacts)
        beside = {f"{path.name}/{file.name}": file for path in (gravity, contacts) if path is not None for file in files_in(path)}
        cameras = None if given.cameras is None else sequence.witness("cameras", given.cameras)
        beside |= {} if cameras is None else {f"cameras/{name}": file for name, file in files_of_cameras(cameras).items()}
        digest = outcome_digest(self.digest, sequence.files((1, 2, 3, 4)) | beside)
        load = partial(_load, sequence, replace(self.options, gravity=gravity, contacts=contacts, cameras=cameras))
        if given.skip_existing and (results := completed(output, digest)) is not None:
            log.info("%s: complete, skipped", sequence.name)
            outcome = _outcome(sequence.name, "skipped", results, read_json(output / METRICS))
        else:
            outcome = self._together(sequence, partial(load, given), digest)
        if given.mode == "per_person":
            self._apart(sequence, load, digest, [int(person) for person in outcome.results["per_person_likelihoods"]])
        if self.config.record:
            self._record(sequence, outcome)
        return outcome

    def _record(self, sequence: InputSequence, outcome: SequenceOutcome) -> None:
        """Recordings of a result; those of one that was kept stay, since a new result takes those of the old one away."""
        people = [int(person) for person in outcome.results["per_person_likelihoods"]]
        if outcome.status == "skipped" and all(path.is_file() for path in recording_files(sequence.output, sequence.name, people)):
            return
        from pose_priors.refinement.show.record import write_recordings

        result = RefinedSequence(sequence.name, sequence.output, (sequence.path,))
        files = write_recordings(result, prior=self.refiner.priors.body, body_model=self.options.body_model)
        log.info("%s: recordings, %s is that of all people", sequence.name, files[-1])

    def _together(self, sequence: InputSequence, load: Callable[[], Problem], digest: str) -> SequenceOutcome:
        """All people in one problem."""
        output = sequence.output
        with self.config.watched(sequence.name) as (self.refiner.logger, self.refiner.callbacks):
            found = refine_into(self.refiner, load, output, digest)
        results = found.results
        if results["status"] != "success":
            raise UserError(f"{output}: the loss of a sub-stage was not finite; optimization_metrics.json there says which")
        alpha, delta = results["scale_alpha"], results["scale_delta"]
        log.info("%s: %d people, scale %.4f (%+.4f), to %s", sequence.name, results["num_people"], alpha, delta, output)
        return _outcome(sequence.name, "success", results, found.metrics)

    def _apart(self, sequence: InputSequence, load: Callable[[PersonSelection], Problem], digest: str, people: Sequence[int]) -> None:
        """Each person alone, and how that differs from all together."""

        def refine(person: int, problem: Problem, folder: Path, digest: str) -> dict[str, Any]:
            with self.config.watched(f"{sequence.name}_person_{person:03d}") as (self.refiner.logger, self.refiner.callbacks):
                return refine_into(self.refiner, lambda: problem, folder, digest).results

        truth = sequence.path.with_name(f"{sequence.name}_gt.npz")
        found = refine_apart(
            people,
            lambda person: load(PersonSelection(person_ids=[person])),
            refine,
            sequence.output,
            digest,
            skip_existing=self.config.input.skip_existing,
            truth=truth if truth.is_file() else None,
        )
        print_comparison(sequence.name, found)


def refine_many(config: RefinementExperiment, sequences: Sequence[InputSequence], summary: Path | None = None) -> list[SequenceOutcome]:
    """Runs the stages of a configuration on sequences in this process; one that fails does not stop the others.

    Args:
        sequences: as `sequences.select_sequences` lists them.
        summary: `summary.csv`, brought up to date after each sequence; rows of other sequences in it are kept. None to write none.
    Returns:
        One outcome for each sequence, in order.
    Raises:
        UserError: if nothing can be refined at all: a prior cannot be loaded, the summary cannot be written.
    """
    shown = config.trainer.get("enable_progress_bar", True)
    refine = SequenceRefiner(config.model_copy(update={"trainer": config.trainer | {"enable_progress_bar": False}}))
    outcomes = []
    with progress_bar(disable=not shown) as progress:
        task = progress.add_task("", total=len(sequences))
        for sequence in sequences:
            progress.update(task, description=sequence.name)
            outcomes.append(_guarded(refine, sequence))
            if summary is not None:
                write_summary(summary, outcomes[-1:])
            progress.advance(task)
    return outcomes


def _outcome(name: str, status: Literal["success", "skipped"], results: dict[str, Any], metrics: dict[str, Any]) -> SequenceOutcome:
    return SequenceOutcome(
        name,
        status,
        frames=results["num_frames"],
        people=results["num_people"],
        iterations=metrics["total_iterations"],
        seconds=metrics["seconds"],
        scale=results["scale_alpha"],
        results=results,
    )


def _guarded(refine: SequenceRefiner, sequence: InputSequence) -> SequenceOutcome:
    try:
        return refine(sequence)
    except UserError as error:
        log.error("error: %s: %s", sequence.name, error)
        return SequenceOutcome(sequence.name, "failed", str(error))
    except Exception as error:
        log.exception("%s: a defect of this program, not of the input; the other sequences go on", sequence.name)
        return SequenceOutcome(sequence.name, "failed", f"a defect of this program, {type(error).__name__}: {reason_of(error)}")


def _load(sequence: InputSequence, options: LoadOptions, who: PersonSelection) -> Problem:
    """The problem of some people of a sequence."""
    options = replace(options, who=who)
    if not sequence.staged:
        return load_sequence(sequence.path, options, sequence.format)
    world = sequence.world if sequence.world.is_dir() else None
    return load_problem(sequence.stage(1), sequence.stage(2), sequence.stage(3), world, options)
