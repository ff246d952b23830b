"""The configs that come with the project, and experiments of poses and of motions."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from pose_priors.configs.base import UserError
from pose_priors.configs.load import CONFIG_DIR, available_configs, load_config
from pose_priors.configs.schema import ExperimentConfig, MotionExperimentConfig, load_experiment


def _of_a_prior(name: str) -> bool:
    return "model" in yaml.safe_load((CONFIG_DIR / f"{name}.yaml").read_text())


PRIORS = [name for name in available_configs() if _of_a_prior(name)]


@pytest.mark.parametrize("name", available_configs())
def test_every_config_that_is_shipped_is_valid(name: str) -> None:
    from pose_priors.refinement.batch.commands import PipelineConfig
    from pose_priors.refinement.batch.experiment import RefinementExperiment
    from pose_priors.refinement.instances.trackers import TrackersConfig
    from pose_priors.refinement.motions.config import MotionsConfig

    if name in PRIORS:
        assert load_experiment(str(CONFIG_DIR / f"{name}.yaml")) == load_experiment(name)
        return
    schema = {"pipeline": PipelineConfig, "vggt": PipelineConfig, "trackers": TrackersConfig, "motions": MotionsConfig}.get(
        name, RefinementExperiment
    )
    config = load_config(schema, name)
    assert load_config(schema, str(CONFIG_DIR / f"{name}.yaml")) == config


@pytest.mark.parametrize("name", PRIORS)
def test_the_config_of_a_prior_survives_its_checkpoint(name: str) -> None:
    config = load_experiment(name)
    assert type(config).model_validate(config.model_dump(mode="json")) == config


@pytest.mark.parametrize("name", PRIORS)
def test_unknown_keys_inside_each_kind_of_prior_list_what_that_kind_allows(name: str) -> None:
    fields = type(load_experiment(name).model).model_fields
    with pytest.raises(UserError) as caught:
        load_experiment(name, ["model.hiden=3"])
    message = str(caught.value)
    assert message.startswith("--override model.hiden=3: unknown key; ")
    assert ", ".join(fields) in message
    assert ("did you mean hidden" in message) == ("hidden" in fields)


def test_the_kind_of_the_model_says_what_the_data_are() -> None:
    assert type(load_experiment("joint_flow")) is ExperimentConfig
    assert type(load_experiment("motion_prior")) is MotionExperimentConfig
    with pytest.raises(
        UserError, match=r"^--override data\.num_poses=5: unknown key; did you mean num_clips\? allowed here: path, train, .*, num_clips"
    ):
        load_experiment("motion_prior", ["data.num_poses=5"])
    with pytest.raises(UserError, match=r"^--override data\.num_clips=5: unknown key; did you mean"):
        load_experiment("joint_flow", ["data.num_clips=5"])


@pytest.mark.parametrize("override", ["model.kind=motion_transformer", "model.kind=[1]", "model.kind=null", "model={hidden: 3}", "model=3"])
def test_a_kind_of_neither_sort_lists_all_kinds(override: str) -> None:
    for name in ("joint_flow", "motion_prior"):
        with pytest.raises(UserError) as caught:
            load_experiment(name, [override])
        message = str(caught.value)
        assert message.startswith(f"--override {override}: ")
        assert "\n" not in message
        if "=3" not in override.replace("{hidden: 3}", ""):
            assert all(kind in message for kind in ("gaussian", "joint_flow", "hand_vae", "motion_cvae"))


def test_stage_5_has_two_names() -> None:
    from pose_priors.refinement.batch.commands import PipelineConfig
    from pose_priors.refinement.batch.experiment import RefinementExperiment
    from pose_priors.refinement.solve.config import RefinementConfig

    assert load_config(PipelineConfig, "vggt").refinement == RefinementConfig()
    assert load_config(PipelineConfig, "vggt", ["stage5.lambda_depth=2.0"]).refinement.lambda_depth == 2.0
    assert load_config(RefinementExperiment, "refinement", ["stage5.scale_iterations=3"]).refinement.scale_iterations == 3
    with pytest.raises(
        UserError, match=r"^--override stage5\.lambda_dept=2: refinement\.lambda_dept: unknown key; did you mean lambda_depth"
    ):
        load_config(PipelineConfig, "vggt", ["stage5.lambda_dept=2"])


def test_a_section_is_given_under_one_name(tmp_path: Path) -> None:
    from pose_priors.refinement.batch.experiment import RefinementExperiment

    both = tmp_path / "both.yaml"
    both.write_text("stage5: {lambda_depth: 2.0}\nrefinement: {lambda_data: 1.0}\n")
    with pytest.raises(UserError, match="stage5 and refinement are one section"):
        load_config(RefinementExperiment, str(both))
    both.write_text("stage5:\n")
    assert load_config(RefinementExperiment, str(both)) == RefinementExperiment()


def test_the_small_joint_flow_has_half_a_million_parameters() -> None:
    prior = load_experiment("joint_flow_517k").model.build(range(1, 55))
    assert sum(parameter.numel() for parameter in prior.parameters()) == 516_672
