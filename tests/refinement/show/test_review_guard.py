"""Who may open the review page: not pages of other origins, names pointed at this machine, or guesses; and nobody gets a public address."""

from __future__ import annotations

import asyncio
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from websockets import Subprotocol
from websockets.asyncio.client import connect
from websockets.datastructures import Headers
from websockets.exceptions import InvalidStatus
from websockets.http11 import Request

from pose_priors.refinement.show.page.guard import Guard
from pose_priors.refinement.show.review import serve

viser = pytest.importorskip("viser", reason="viser, which serves the page, is not installed")


@pytest.fixture(scope="module")
def asked() -> list[str]:
    """What was asked of viser's tunnel."""
    return []


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory, asked: list[str]) -> Iterator[str]:
    """Of a page with one result, in full."""
    root = tmp_path_factory.mktemp("results")
    folder = root / "clip" / "5_refinement"
    folder.mkdir(parents=True)
    (folder / "refinement_results.json").write_text(json.dumps({"status": "success", "per_person_likelihoods": {}}))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(viser.ViserServer, "request_share_url", lambda *_, **__: asked.append("url"))
        server, page = serve(root, "127.0.0.1", 0)
        yield page.address
        server.stop()


def opened(address: str, origin: str | None, message: dict[str, Any] | None = None, host: str | None = None) -> bool:
    """Whether the websocket opens, says something, and takes a message; if not, it is forbidden."""

    async def go() -> bool:
        headers = {} if host is None else {"Host": host}
        try:
            async with connect(
                address.replace("http://", "ws://").rstrip("/"),
                origin=origin,
                subprotocols=[Subprotocol(f"viser-v{viser.__version__}")],
                additional_headers=headers,
                max_size=None,
                compression=None,
            ) as socket:
                await asyncio.wait_for(socket.recv(), 20)
                if message is not None:
                    await socket.send(msgspec.msgpack.encode(message))
                    await asyncio.sleep(1)
                return True
        except InvalidStatus as error:
            return error.response.status_code != 403

    return asyncio.run(go())


def origin_of(address: str) -> str:
    return "/".join(address.split("/")[:3])


def test_the_page_itself_gets_in_and_gets_no_public_address(address: str, asked: list[str]) -> None:
    assert opened(address, origin_of(address), {"type": "ShareUrlRequest"})
    assert asked == []
    with urllib.request.urlopen(address) as answer:
        assert b"<html" in answer.read()
        assert answer.headers["Referrer-Policy"] == "no-referrer"


def test_others_are_refused(address: str) -> None:
    own = origin_of(address)
    assert not opened(address, "http://evil.example")
    assert not opened(address, "null")
    assert not opened(own, own)
    assert not opened(f"{own}/guess/", own)
    for path in ("/", "/guess/", "/?token=guess"):
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(own + path)
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(urllib.request.Request(address, headers={"Host": "evil.example"}))


@pytest.mark.parametrize(
    ("listening", "host", "passes"),
    [
        ("127.0.0.1", "127.0.0.1:8080", True),
        ("127.0.0.1", "localhost:9000", True),  # through a tunnel of ssh
        ("127.0.0.1", "[::1]:8080", True),
        ("127.0.0.1", "192.168.0.7:8080", False),
        ("127.0.0.1", "evil.example:8080", False),
        ("127.0.0.1", "localhost.evil.example", False),
        ("127.0.0.1", "[", False),
        ("127.0.0.1", "", False),
        ("0.0.0.0", "192.168.0.7:8080", True),
        ("0.0.0.0", "evil.example", False),
    ],
)
def test_a_name_that_may_be_pointed_here_is_no_name_of_ours(listening: str, host: str, passes: bool) -> None:
    guard = Guard(listening)
    path = f"/{guard.token}/x?y"
    assert (guard.rest(Request(path, Headers(Host=host))) == "/x?y") == passes
    assert guard.rest(Request(path, Headers())) is None
    assert guard.rest(Request(f"/{guard.token[:-1]}/", Headers(Host=host))) is None
    assert guard.rest(Request(path, Headers([("Host", host), ("Host", "localhost")]))) is None
    assert guard.rest(Request(path, Headers(Host=host, Origin="http://evil.example"))) is None
