"""Which sequences and people are selected, and what counts as a complete result."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from problems import make_problem
from scenes import Clip

from pose_priors.configs.base import UserError
from pose_priors.configs.load import load_config
from pose_priors.refinement.batch.digest import completed, config_digest, outcome_digest
from pose_priors.refinement.batch.experiment import RefinementExperiment
from pose_priors.refinement.batch.many import SequenceRefiner
from pose_priors.refinement.batch.sequences import find_sequences, select_sequences, summary_path
from pose_priors.refinement.formats.sequence import InputSequence
from pose_priors.refinement.formats.tools.multi_tram import read_clip
from pose_priors.refinement.given.load import load_problem
from pose_priors.refinement.given.options import LoadOptions
from pose_priors.refinement.given.people import PersonSelection
from pose_priors.refinement.given.sampling import sample_depth
from pose_priors.refinement.result.output import RefinementOutput
from pose_priors.refinement.result.write import write_result

NAMES = ("jump_01", "jump_02", "run_01", "jump_03")


def config(*overrides: str) -> RefinementExperiment:
    return load_config(RefinementExperiment, "refinement", overrides)


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A folder of four sequences, and of other things."""
    for name in NAMES:
        (tmp_path / name / "1_camera_estimation").mkdir(parents=True)
    (tmp_path / "notes").mkdir()
    (tmp_path / "summary.csv").write_text("old\n")
    return tmp_path


def selected(results: Path, *overrides: str) -> list[str]:
    return [sequence.name for sequence in select_sequences(config(f"input.path={results}", *overrides))]


def test_sequences_come_by_name_and_nothing_else_does(results: Path) -> None:
    assert selected(results) == sorted(NAMES)


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["input.pattern=jump*"], ["jump_01", "jump_02", "jump_03"]),
        (["input.pattern=*_01"], ["jump_01", "run_01"]),
        (["input.pattern=jump*", "input.start_idx=1"], ["jump_02", "jump_03"]),
        (["input.pattern=jump*", "input.start_idx=0", "input.end_idx=2"], ["jump_01", "jump_02"]),
        (["input.end_idx=10"], sorted(NAMES)),
        (["input.pattern=jump_0[13]"], ["jump_01", "jump_03"]),
    ],
)
def test_patterns_and_ranges(results: Path, overrides: list[str], expected: list[str]) -> None:
    assert selected(results, *overrides) == expected


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["input.pattern=jump"], r"input\.pattern=jump: .*there are jump_01, jump_02, jump_03, run_01.*whole name"),
        (["input.start_idx=4"], r"start_idx\.\.end_idx=4\.\.: 4 sequences"),
        (["input.start_idx=2", "input.end_idx=2"], r"end_idx=2.*larger than start_idx=2"),
        (["input.start_idx=-1"], r"input\.start_idx"),
        (["input.person_ids=[]"], r"input\.person_ids"),
        (["stages=[1,5]"], r"stages: .*\[4\], \[5\] or \[4, 5\].*pipeline\.py"),
        (["stages=[]"], r"stages: "),
    ],
)
def test_what_selects_nothing_is_said_in_one_line(results: Path, overrides: list[str], said: str) -> None:
    with pytest.raises(UserError, match=said) as error:
        selected(results, *overrides)
    assert "\n" not in str(error.value)


def test_results_go_beside_the_stages_or_into_the_output_folder(results: Path, tmp_path: Path) -> None:
    (first, *_) = select_sequences(config(f"input.path={results}"))
    assert (first.world, first.output) == (results / "jump_01" / "4_world_space", results / "jump_01" / "5_refinement")
    assert summary_path(config(f"input.path={results}")) == results / "summary.csv"

    out = tmp_path / "out"
    (first, *_) = select_sequences(config(f"input.path={results}", f"output.path={out}"))
    assert (first.world, first.output) == (results / "jump_01" / "4_world_space", out / "jump_01")
    assert summary_path(config(f"input.path={results}", f"output.path={out}")) == out / "summary.csv"
    # stage 4 is made in the output folder, and is read from there once it is
    (first, *_) = select_sequences(config(f"input.path={results}", f"output.path={out}", "stages=[4,5]"))
    assert first.world == out / "jump_01" / "4_world_space"
    first.world.mkdir(parents=True)
    assert select_sequences(config(f"input.path={results}", f"output.path={out}"))[0].world == first.world

    (alone,) = select_sequences(config(f"input.path={results / 'run_01'}", f"output.path={out}"))
    assert alone.output == out


def test_a_path_without_sequences_says_what_is_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        find_sequences(tmp_path / "none")
    (tmp_path / "frames").mkdir()
    with pytest.raises(UserError, match="it holds: frames"):
        find_sequences(tmp_path)


# ---- people ----


@pytest.mark.parametrize("given", ["[1,10]", "['001','010']", "[001,010]", "001 010", "'1,10'"])
def test_people_are_named_as_the_tracker_does(given: str) -> None:
    assert config(f"input.person_ids={given}").input.person_ids == [1, 10]
    assert config("input.person_ids=010").input.person_ids == config("input.person_ids=10").input.person_ids == [10]


def test_only_the_first_frames_are_read(clip: Callable[[str], Clip], tmp_path: Path) -> None:
    given = config(f"input.path={clip('released').folder}", f"output.path={tmp_path}", "stages=[4]", "input.max_frames=5")
    (sequence,) = select_sequences(given)
    assert SequenceRefiner(given)(sequence).frames == 5
    assert config_digest(given) != config_digest(config("input.max_frames=6"))


def test_the_longest_track_and_named_people_are_kept(clip: Callable[[str], Clip]) -> None:
    folders = clip("released").stages
    upstream = read_clip(*folders, None, [])  # person 2 is hidden on three frames
    assert list(PersonSelection().of(upstream).camera_bodies) == [1, 2]
    assert list(PersonSelection(multihuman=False).of(upstream).camera_bodies) == [1]
    assert list(PersonSelection(top_k=1).of(upstream).camera_bodies) == [1]
    assert list(PersonSelection(top_k=5).of(upstream).camera_bodies) == [1, 2]
    chosen = PersonSelection(person_ids=[2], multihuman=False).of(upstream)
    assert list(chosen.camera_bodies) == list(chosen.world_bodies) == [2]
    with pytest.raises(UserError, match=r"input\.person_ids: nobody has the id 3, 7; this sequence has 1, 2"):
        PersonSelection(person_ids=[7, 3, 1]).of(upstream)


def test_those_who_are_left_out_are_no_part_of_the_scene(clip: Callable[[str], Clip]) -> None:
    """A bystander's body is not taken for the floor or a thing on it."""
    folders = clip("released").stages
    upstream = read_clip(*folders, None, [])
    shape = (len(upstream.camera_bodies), len(upstream.cameras.frame_ids))
    pixels, seen = np.full((*shape, 24, 2), np.nan), np.ones(shape, bool)
    everybody = sample_depth(upstream, (1, 2), pixels, seen).scene
    np.testing.assert_array_equal(sample_depth(upstream, (1,), pixels[:1], seen[:1], bystanders={2}).scene, everybody)
    assert len(sample_depth(upstream, (1,), pixels[:1], seen[:1]).scene) > len(everybody) + 10

    alone = load_problem(*folders, LoadOptions(who=PersonSelection(person_ids=[1])))
    assert alone.person_ids == (1,)
    torch.testing.assert_close(alone.observations.keypoints, load_problem(*folders).observations.keypoints[:1])


# ---- complete results ----


@pytest.fixture
def done(clip: Callable[[str], Clip]) -> InputSequence:
    """A sequence with a written result that bears the digest of its input."""
    sequence = InputSequence.at(clip("released").folder)
    problem, _ = make_problem(frames=4)
    nothing = torch.zeros(2, 4, 3)
    joints = torch.zeros(2, 4, len(problem.bodies.parents), 3)
    results = {"status": "success", "digest": digest(sequence), "per_person_likelihoods": {str(p): 0.0 for p in problem.person_ids}}
    contacts, plane = torch.zeros(2, 4, 4), torch.zeros(4)
    refined = RefinementOutput(
        nothing,
        joints[:, :, 1:],
        nothing,
        torch.zeros(2, 10),
        joints,
        contacts,
        plane,
        scale_alpha=1.0,
        scale_delta=0.0,
        results=results,
        metrics={},
    )
    write_result(sequence.output, problem, refined)
    return sequence


def digest(sequence: InputSequence, *overrides: str) -> str:
    return outcome_digest(config_digest(config(*overrides)), sequence.files((1, 2, 3, 4)))


def test_a_result_is_complete_as_long_as_its_input_and_configuration_are_the_same(done: InputSequence, tmp_path: Path) -> None:
    assert completed(done.output, digest(done)) is not None
    for same in (
        "logging.logger=csv",
        "input.pattern=x*",
        "trainer.enable_progress_bar=false",
        "input.skip_existing=true",
        "output.path=x",
    ):
        assert digest(done, same) == digest(done), same
    for other in ("refinement.lambda_depth=2.0", "input.fps=25.0", "input.seed=1", "input.person_ids=[1]", "trainer.precision=64"):
        assert completed(done.output, digest(done, other)) is None, other
    moved = tmp_path / "moved"
    shutil.copytree(done.path, moved)
    assert digest(InputSequence.at(moved)) == digest(done)


def test_an_input_counts_by_its_content(done: InputSequence) -> None:
    path = done.stage(3) / "person_001" / "joints_camera.npy"
    before = path.stat()
    os.utime(path, ns=(0, 0))
    assert completed(done.output, digest(done)) is not None
    joints = np.load(path)
    joints[0, 0, 0] += 1e-6
    np.save(path, joints)  # as large as before, and made to look as old
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size
    assert completed(done.output, digest(done)) is None


def test_a_new_or_lost_input_file_counts(done: InputSequence) -> None:
    known = digest(done)
    (done.stage(2) / ".DS_Store").write_bytes(b"x")
    assert digest(done) == known
    mask = next((done.stage(2) / "masks").iterdir())
    mask.rename(mask.with_name(f"renamed_{mask.name}"))
    assert digest(done) != known


def test_checkpoints_count_by_their_content(tmp_path: Path) -> None:
    first, second = tmp_path / "first.ckpt", tmp_path / "second.ckpt"
    first.write_bytes(b"weights")
    second.write_bytes(b"weights")
    of = {path: config_digest(config(f"prior.body={path}")) for path in (first, second)}
    assert of[first] == of[second] != config_digest(config())
    second.write_bytes(b"Weights")
    assert config_digest(config(f"prior.body={second}")) != of[first]
    with pytest.raises(UserError, match="cannot be read"):
        config_digest(config(f"prior.body={tmp_path / 'none.ckpt'}"))


def spoil_json(output: Path) -> None:
    path = output / "refinement_results.json"
    path.write_text(path.read_text()[:-20])


def lose_person(output: Path) -> None:
    shutil.rmtree(output / "person_001")


def cut_person(output: Path) -> None:
    path = next(output.glob("person_*")) / "smpl_params_refined.npz"
    path.write_bytes(path.read_bytes()[:-30])


def fail(output: Path) -> None:
    path = output / "refinement_results.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"status": "failed"}))


def lose_metrics(output: Path) -> None:
    (output / "optimization_metrics.json").unlink()


@pytest.mark.parametrize("spoil", [spoil_json, lose_person, cut_person, fail, lose_metrics])
def test_a_half_written_or_spoilt_result_is_not_complete(done: InputSequence, spoil: Callable[[Path], Any]) -> None:
    spoil(done.output)
    assert completed(done.output, digest(done)) is None


def test_no_result_is_not_complete(done: InputSequence, tmp_path: Path) -> None:
    assert completed(replace(done, output=tmp_path / "none").output, digest(done)) is None
