"""The whole way: an npz of many instances is taken apart, each instance is tracked on its own, and the recordings become one."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path

from pose_priors.configs.base import UserError
from pose_priors.refinement.instances.archive import InstanceArchive
from pose_priors.refinement.instances.combine import combine_tracking_results
from pose_priors.refinement.instances.query import QueryConfig, create_query_npz
from pose_priors.refinement.instances.split import MASK_KEY, instance_paths, split_npz_by_instances, verify_instance_npz
from pose_priors.refinement.instances.trackers import TrackerConfig, run_tracker

log = logging.getLogger("instances")

INSTANCES = "instances"
"""The folder of what is made for each instance before it is tracked, in that of the outputs."""


@dataclass(frozen=True)
class Tracked:
    """What came of it, by instance.

    Attributes:
        instance_npzs, query_npzs, tracking_rrds: files; of instances that failed some are missing.
        combined, viewing_script: of all recordings together; None where there are none, `combined` also where they cannot be merged.
        failed: one line for each instance that failed, and for the merging.
    """

    instance_npzs: dict[str, Path]
    query_npzs: dict[str, Path] = field(default_factory=dict)
    tracking_rrds: dict[str, Path] = field(default_factory=dict)
    combined: Path | None = None
    viewing_script: Path | None = None
    failed: dict[str, str] = field(default_factory=dict)


def process_masks_independently(
    npz: Path,
    tracker_name: str,
    tracker: TrackerConfig,
    output_dir: Path,
    *,
    mask_key: str = MASK_KEY,
    base_name: str = "tracking",
    frames_before: int = 3,
    frames_after: int = 10,
    use_first_frame: bool = False,
    query: QueryConfig | None = None,
    options: dict[str, str] | None = None,
    instances_dir: Path | None = None,
) -> Tracked:
    """Takes an npz apart, draws query points, runs a tracker on each instance and merges the recordings; one that fails does not stop the
    others.

    Args:
        tracker: as `TrackersConfig.tracker` has checked it.
        output_dir: gets `instances/<npz>_<instance>.npz` and `..._query.npz`, `<base_name>_<tracker>_<instance>.rrd`,
            `<base_name>_<tracker>_combined.rrd`, `view_<base_name>_<tracker>_combined.sh`, and `logs/` of what the tracker prints.
        frames_before, frames_after, use_first_frame, query: see `refinement.instances.query.query_points`.
        options: values for the places in the tracker's command.
        instances_dir: where the npz of each instance is already, from an earlier run; None to take the npz apart.
    Raises:
        UserError: before anything is written, if the npz or what `instances_dir` holds cannot be used.
    """
    archive = InstanceArchive(npz, mask_key)
    name = f"{base_name}_{tracker_name}"
    _check_names(archive)
    try:
        (output_dir / INSTANCES).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--output-dir {output_dir}: cannot be written to ({error.strerror})") from error
    if instances_dir is None:
        files = split_npz_by_instances(npz, output_dir / INSTANCES, mask_key)
        log.info("%s: %d instances, to %s", npz, len(files), output_dir / INSTANCES)
    else:
        files = instance_paths(archive, instances_dir)
        if bad := [path for instance, path in files.items() if not verify_instance_npz(path, instance, mask_key)]:
            raise UserError(
                f"--instances-dir {instances_dir}: {bad[0].name} is missing or of another file; leave out --skip-split to make it"
            )
    found = Tracked(files)
    for instance, path in files.items():
        try:
            query_npz = output_dir / INSTANCES / f"{path.stem}_query.npz"
            points = create_query_npz(
                path,
                query_npz,
                mask_key,
                frames_before=frames_before,
                frames_after=frames_after,
                use_first_frame=use_first_frame,
                config=query,
            )
            found.query_npzs[instance] = query_npz
            rrd = output_dir / f"{name}_{instance}.rrd"
            log.info("%s: %d query points; %s begins", instance, len(points.points), tracker_name)
            values = {**(options or {}), "npz": str(query_npz.absolute()), "tracker": tracker_name, "instance": instance}
            run_tracker(tracker, values, rrd, output_dir / "logs" / rrd.stem)
            found.tracking_rrds[instance] = rrd
        except UserError as error:
            log.error("%s failed: %s", instance, error)
            found.failed[instance] = str(error)
    return _combined(found, output_dir, f"{name}_combined")


def _combined(found: Tracked, output_dir: Path, name: str) -> Tracked:
    if not found.tracking_rrds:
        return found
    combined = None
    try:
        combined, _ = combine_tracking_results(found.tracking_rrds, output_dir, name)
        log.info("%d recordings in one: %s", len(found.tracking_rrds), combined)
    except UserError as error:
        log.error("%s.rrd failed: %s", name, error)
        found.failed["combined"] = str(error)
    script = output_dir / f"view_{name}.sh"
    return Tracked(found.instance_npzs, found.query_npzs, found.tracking_rrds, combined, script, found.failed)


def _check_names(archive: InstanceArchive) -> None:
    """No instance may bear the name of another file that is made."""
    ids = set(archive.instance_ids)
    taken = {"combined"} | {f"{instance}_query" for instance in ids}
    if clash := sorted(ids & taken):
        raise UserError(
            f"{archive.path}: '{archive.mask_key}' holds an instance named {clash[0]}, the name of a file that is made; rename it"
        )
