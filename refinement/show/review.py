"""Looks through refined sequences in a browser and marks them good or bad: `python -m refinement.review results`."""

from __future__ import annotations

import logging
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pose_priors.configs.base import UserError
from pose_priors.configs.cli import Parser, run
from pose_priors.refinement.result.found import find_results
from pose_priors.refinement.show.review_data import VERDICTS_FILE, Verdicts
from pose_priors.refinement.show.review_page import ReviewPage

log = logging.getLogger("review")


def serve(results: Path, host: str, port: int, inputs: Path | None = None) -> tuple[Any, ReviewPage]:
    """Starts the page in threads of this process: viser's server, which stops when asked to, and what is on it.

    Args:
        results, inputs: as of `find_results`.
        host: the address to listen on; port: the first that is tried.
    Raises:
        UserError: if there is nothing to show, `review.csv` is no such table, viser is not installed, or there is no such address.
    """
    found, verdicts = find_results(results, inputs), Verdicts(results / VERDICTS_FILE)
    try:
        import viser
    except ImportError as error:
        raise UserError(f"the review page needs viser, which cannot be imported ({error}); pip install viser") from error
    _check_address(host, port)
    logging.getLogger("websockets").setLevel(logging.WARNING)  # it tells of every reader who comes and goes
    server = viser.ViserServer(host=host, port=port, label="Review", verbose=False)
    page = ReviewPage(server, found, verdicts)
    log.info("%d sequences at http://%s:%d; verdicts go to %s; Ctrl+C ends", len(found), host, server.get_port(), verdicts.path)
    return server, page


def _check_address(host: str, port: int) -> None:
    """Where viser cannot listen it waits for ever."""
    try:
        socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
    except OSError as error:
        raise UserError(f"--host {host}: cannot be listened on ({error.strerror or error}); give an address of this machine") from error
    if not 0 <= port < 1 << 16:
        raise UserError(f"--port {port}: no port has this number; 0 to 65535 are allowed")


def main(arguments: Sequence[str] | None = None) -> None:
    """Serves until it is interrupted."""
    parser = Parser(prog="python -m refinement.review", description=__doc__)
    parser.add_argument("results", type=Path, help="a folder of sequences with 5_refinement in them, or of results by output.path")
    parser.add_argument("--input", type=Path, help="the sequences that were refined, where the results lie elsewhere")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--host", default="127.0.0.1", help="0.0.0.0 lets other machines look, and mark")
    options = parser.parse_args(arguments)
    server, _ = serve(options.results, options.host, options.port, options.input)
    try:
        server.sleep_forever()
    except KeyboardInterrupt:
        server.stop()


if __name__ == "__main__":
    run(main)
