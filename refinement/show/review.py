"""Looks through refined sequences in a browser and marks them good or bad: `pose-priors review results`."""

from __future__ import annotations

import io
import logging
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

from pose_priors.body.anny.model import load_anny
from pose_priors.configs.base import UserError
from pose_priors.configs.cli import Parser, run
from pose_priors.refinement.result.found import find_results, selected
from pose_priors.refinement.show.page.controls import MAX_STEP, Start
from pose_priors.refinement.show.page.guard import Guard
from pose_priors.refinement.show.page.page import ReviewPage
from pose_priors.refinement.show.page.verdicts import VERDICTS_FILE, Verdicts
from pose_priors.refinement.show.points import add_filters, filter_of

log = logging.getLogger("review")


def serve(results: Path, host: str, port: int, inputs: Path | None = None, start: Start | None = None) -> tuple[Any, ReviewPage]:
    """Starts the page in threads of this process: viser's server, which stops when asked to, and what is on it.

    Who looks at it must know `page.address`, which holds a secret of this process; other pages of a browser cannot reach it, and nobody can
    ask for a public address of it.

    Args:
        results, inputs: as of `find_results`.
        host: the address to listen on; port: the first that is tried.
        start: which sequences, and what is shown of them, at first.
    Raises:
        UserError: if there is nothing to show, `review.csv` is no such table, viser is not installed, or there is no such address.
    """
    found, verdicts, start = find_results(results, inputs), Verdicts(results / VERDICTS_FILE), start or Start()
    selected(found, start.pattern, start.start_idx, start.end_idx)  # better told before the page than on it
    try:
        import viser
    except ImportError as error:
        raise UserError(f"the review page needs viser, which cannot be imported ({error}); pip install viser") from error
    _check_address(host, port)
    logging.getLogger("websockets").setLevel(logging.WARNING)  # it tells of every reader who comes and goes
    guard = Guard(host)
    with _guarded(guard), redirect_stdout(io.StringIO()):  # it prints an address that opens nothing
        server = viser.ViserServer(host=host, port=port, label="Review", verbose=False)
    _withhold_sharing(server)
    page = ReviewPage(server, found, verdicts, guard.address(server.get_port()), start)
    log.info("%d sequences at %s ; verdicts go to %s; Ctrl+C ends", len(found), page.address, verdicts.path)
    return server, page


@contextmanager
def _guarded(guard: Guard) -> Iterator[None]:
    """Within, servers of websockets are under guard: viser has no way of its own to look at a request before it answers."""
    import websockets.asyncio.server as websockets

    plain = websockets.serve

    def serve(*arguments: Any, process_request: Any = None, **options: Any) -> Any:
        guard.is_posted = True
        return plain(*arguments, process_request=guard.before(process_request), **options)

    websockets.serve = serve  # type: ignore[assignment, misc]
    try:
        yield
    finally:
        websockets.serve = plain  # type: ignore[misc]
    if not guard.is_posted:
        raise UserError("the review page cannot be guarded with this version of viser; install the one that requirements.txt names")


def _withhold_sharing(server: Any) -> None:
    """Whoever looks at the page could ask viser for a public address of it."""
    from viser import _messages

    for message in (_messages.ShareUrlRequest, _messages.ShareUrlDisconnect):
        server._websock_server.unregister_handler(message)


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
    parser = Parser(description=__doc__)
    parser.add_argument("results", type=Path, nargs="?", help="sequences with 5_refinement in them, or results by output.path")
    parser.add_argument("--results-root-dir", type=Path, help="the same, by a flag")
    parser.add_argument("--pattern", help="of these, those with such names (jump*), or with that word in them (jump)")
    parser.add_argument("--start-idx", type=int, default=0, help="of these, by name, the first, counted from 0")
    parser.add_argument("--end-idx", type=int, help="... and the first that is left out again")
    parser.add_argument(
        "--bg-pc-downsample-factor", type=int, default=4, metavar="N", help="one point every N rows and columns of a depth map, 1 to 16"
    )
    add_filters(parser)
    parser.add_argument("--surface", choices=("anny",), help="people with Anny's surface over their bones; needs the extra of that name")
    parser.add_argument("--input", type=Path, help="the sequences that were refined, where the results lie elsewhere")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--host", default="127.0.0.1", help="0.0.0.0 lets other machines look, and mark, that know the address in full")
    options = parser.parse_args(arguments)
    root = options.results or options.results_root_dir
    if root is None or (options.results is not None and options.results_root_dir not in (None, options.results)):
        raise UserError("RESULTS: one folder of results is expected, by itself or as --results-root-dir")
    if not 1 <= options.bg_pc_downsample_factor <= MAX_STEP:
        raise UserError(f"--bg-pc-downsample-factor {options.bg_pc_downsample_factor}: 1 to {MAX_STEP} is expected")
    anny = None if options.surface is None else load_anny()
    start = Start(options.pattern, options.start_idx, options.end_idx, options.bg_pc_downsample_factor, filter_of(options), anny)
    server, _ = serve(root, options.host, options.port, options.input, start)
    try:
        server.sleep_forever()
    except KeyboardInterrupt:
        server.stop()


if __name__ == "__main__":
    run(main)
