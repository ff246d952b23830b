"""What the tests ask of the cluster that runs for them."""

from __future__ import annotations

import re
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
_PATIENCE_S = 180


@dataclass(frozen=True)
class Cluster:
    """Two nodes of two CPUs each, both of them this machine; partitions `low`, and `high`, which preempts it.

    Attributes:
        environment: of whoever talks to it.
    """

    environment: dict[str, str]

    def run(self, *command: str | Path, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
        """Runs a command on the machine where jobs are submitted."""
        return subprocess.run(map(str, command), cwd=cwd, env=self.environment, capture_output=True, text=True, check=False)

    def ask(self, *command: str) -> list[str]:
        """The lines that a command of Slurm prints. Raises if it fails."""
        done = self.run(*command)
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout.splitlines()

    @staticmethod
    def submitted(done: subprocess.CompletedProcess[str]) -> str:
        """The number of the job that a script says it has submitted."""
        assert done.returncode == 0, done.stderr
        return re.findall(r"slurm job (\d+)", done.stderr)[-1]

    def states(self, job: str) -> dict[str, str]:
        """State of each task of a job, by its id: `12` or `12_0`."""
        lines = self.ask("squeue", "--noheader", "--array", "--states=all", f"--jobs={job}", "--format=%i %T")
        return dict(line.split() for line in lines)

    def wait(self, job: str, *states: str) -> dict[str, str]:
        """Waits until all tasks of a job are in one of some states, by default any in which nothing more happens."""
        wanted = states or ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL")
        until = time.monotonic() + _PATIENCE_S
        while True:
            found = self.states(job)
            if all(state in wanted for state in found.values()):
                return found
            assert time.monotonic() < until, f"job {job} is still {found}, not {wanted}"
            time.sleep(0.2)


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now."""
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports
