"""Tracks each instance of an npz of masks on its own: `pose-priors instances --npz masks.npz --output-dir results/tracking`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from pose_priors.configs.base import UserError
from pose_priors.configs.cli import Parser, at_least, run
from pose_priors.configs.load import load_config
from pose_priors.refinement.instances.process import INSTANCES, Tracked, process_masks_independently
from pose_priors.refinement.instances.split import MASK_KEY
from pose_priors.refinement.instances.trackers import TrackersConfig

# options that the tracker is told, and what they are where they are not given
_DEFAULTS = {"temporal_stride": 1, "spatial_downsample": 1, "depth_estimator": "gt", "depth_cache_dir": Path("depth_cache")}


def main(arguments: Sequence[str] | None = None) -> Tracked:
    """Tracks, and returns what was made. Exits with code 1 if some instances failed; a mistake of the user's is a `UserError`."""
    options = _parser().parse_args(arguments)
    config = load_config(TrackersConfig, options.config)
    given = {name: value for name in _DEFAULTS if (value := getattr(options, name)) is not None}
    tracker = config.tracker(options.tracker, given)
    values = _DEFAULTS | given
    if options.instances_dir is not None and not options.skip_split:
        raise UserError("--instances-dir says where split instances are; give --skip-split too")
    found = process_masks_independently(
        options.npz,
        options.tracker,
        tracker,
        options.output_dir,
        mask_key=options.mask_key,
        base_name=options.base_name,
        frames_before=options.frames_before,
        frames_after=options.frames_after,
        use_first_frame=options.use_first_frame,
        query=config.query_points,
        options={name: str(value.absolute() if isinstance(value, Path) else value) for name, value in values.items()},
        instances_dir=(options.instances_dir or options.output_dir / INSTANCES) if options.skip_split else None,
    )
    if found.failed:
        print(f"error: {options.tracker} failed for {len(found.failed)} of {len(found.instance_npzs)}:", file=sys.stderr)
        for name, reason in found.failed.items():
            print(f"  {name}: {reason}", file=sys.stderr)
        sys.exit(1)
    print(f"open all of them with: bash {found.viewing_script}")
    return found


def _parser() -> Parser:
    parser = Parser(description=__doc__)
    parser.add_argument("--npz", type=Path, required=True, help="the scene with the masks of all instances")
    parser.add_argument("--mask-key", default=MASK_KEY, help="where in it the masks are (default: %(default)s)")
    parser.add_argument(
        "--tracker", default="mvtracker", help="mvtracker, spatialtrackerv2, cotracker3_offline, or another of the config's"
    )
    parser.add_argument("--config", default="trackers", help="the trackers' commands: a file in configs/, or a path (default: %(default)s)")
    parser.add_argument("--output-dir", type=Path, required=True)
    parser.add_argument("--base-name", type=_name, default="tracking", help="how recordings begin (default: %(default)s)")
    points = parser.add_argument_group("query points")
    points.add_argument("--frames-before", type=at_least(0), default=3, help="before the contact (default: %(default)s)")
    points.add_argument("--frames-after", type=at_least(0), default=10, help="after the contact (default: %(default)s)")
    points.add_argument("--use-first-frame", action="store_true", help="instead, the first frame of each camera that has a mask")
    told = parser.add_argument_group("what the tracker is told")
    told.add_argument("--temporal-stride", type=at_least(1), help=f"(default: {_DEFAULTS['temporal_stride']})")
    told.add_argument("--spatial-downsample", type=at_least(1), help=f"(default: {_DEFAULTS['spatial_downsample']})")
    told.add_argument("--depth-estimator", help=f"(default: {_DEFAULTS['depth_estimator']})")
    told.add_argument("--depth-cache-dir", type=Path, help=f"(default: {_DEFAULTS['depth_cache_dir']})")
    again = parser.add_argument_group("starting from split instances")
    again.add_argument("--skip-split", action="store_true", help="take the instances that an earlier run has split")
    again.add_argument("--instances-dir", type=Path, help=f"where they are (default: {INSTANCES} in the output folder)")
    return parser


def _name(text: str) -> str:
    if not text or text.startswith(".") or "/" in text:
        raise argparse.ArgumentTypeError(f"{text!r} cannot begin the name of a file")
    return text


if __name__ == "__main__":
    run(main)
