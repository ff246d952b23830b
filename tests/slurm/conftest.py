"""A real Slurm, started for the tests in this folder where it is installed and can start."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster import Cluster, free_ports

_SCRIPT = Path(__file__).with_name("cluster.sh")
_NUM_NODES, _CPUS = 2, 2
_CANNOT = 3


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("slurm")
    controller, node = free_ports(2)
    command = ["bash", str(_SCRIPT), "start", str(folder), str(controller), str(node), str(_NUM_NODES), str(_CPUS)]
    # the daemons outlive the script and would hold its pipes open
    with (folder / "start.log").open("w") as log:
        status = subprocess.run(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, check=False).returncode
    said = (folder / "start.log").read_text().strip()
    try:
        if status == _CANNOT:
            pytest.skip(f"no Slurm here: {said}")
        assert status == 0, said
        # the nodes' names are not in DNS
        yield Cluster({**os.environ, "SLURM_CONF": str(folder / "slurm.conf"), "MASTER_ADDR": "127.0.0.1"})
    finally:
        subprocess.run(["bash", str(_SCRIPT), "stop", str(folder)], check=False)
