"""Files that hold the masks of many instances: taken apart, each tracked on its own by a program of others, and put together again."""

from pose_priors.refinement.instances.combine import combine_rrd_files_python, combine_tracking_results, create_viewing_script
from pose_priors.refinement.instances.query import create_query_npz, query_points
from pose_priors.refinement.instances.split import (
    create_single_instance_npz,
    get_mask_instance_ids,
    split_npz_by_instances,
    verify_instance_npz,
)

__all__ = [
    "combine_rrd_files_python",
    "combine_tracking_results",
    "create_query_npz",
    "create_single_instance_npz",
    "create_viewing_script",
    "get_mask_instance_ids",
    "query_points",
    "split_npz_by_instances",
    "verify_instance_npz",
]
