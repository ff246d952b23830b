"""Who may open the review page: whoever knows its address in full, from a page of its own origin, by a name that is this machine's."""

from __future__ import annotations

import hmac
import http
import ipaddress
import secrets
import socket
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from websockets.http11 import Request, Response

_WILDCARDS = ("0.0.0.0", "::", "")
_HEADERS = (("Referrer-Policy", "no-referrer"), ("X-Frame-Options", "DENY"), ("Cache-Control", "no-store"))


class Guard:
    """Looks at each request, of a page or of a websocket, before it is answered.

    Three things must be right. The path begins with a secret, which viser's page keeps when it opens its websocket. `Host` is an address or
    a name of this machine, so that no other site's name can be pointed here. `Origin`, which browsers send, is that of the page itself.

    Args:
        host: that the page listens on.
    """

    def __init__(self, host: str) -> None:
        self.host, self.token = host, secrets.token_urlsafe(24)
        self.is_posted = False
        """Whether a server asks it."""

    def address(self, port: int) -> str:
        """What to open in a browser, the secret included."""
        host = "localhost" if self.host in _WILDCARDS else f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{port}/{self.token}/"

    def before(self, answer: Callable[[Any, Any], Any] | None) -> Callable[[Any, Any], Any]:
        """What answers a request if it may pass, with the secret taken off its path."""

        def guarded(connection: Any, request: Request) -> Response | None:
            rest = self.rest(request)
            if rest is None:
                return _with_headers(connection.respond(http.HTTPStatus.FORBIDDEN, "Open the address that the program printed, in full.\n"))
            response = None if answer is None else answer(connection, replace(request, path=rest))
            return None if response is None else _with_headers(response)

        return guarded

    def rest(self, request: Request) -> str | None:
        """The path behind the secret; None if the request may not pass."""
        hosts, origins = request.headers.get_all("Host"), request.headers.get_all("Origin")
        if len(hosts) != 1 or not self._is_ours(hosts[0]) or len(origins) > 1:
            return None
        if origins and origins[0].lower() not in (f"http://{hosts[0].lower()}", f"https://{hosts[0].lower()}"):
            return None
        token, _, rest = request.path.removeprefix("/").partition("/")
        token, mark, query = token.partition("?")
        if not hmac.compare_digest(token.encode("utf-8", "replace"), self.token.encode()):
            return None
        return f"/{rest}{mark}{query}"

    def _is_ours(self, host: str) -> bool:
        try:
            name = (urlsplit(f"//{host}").hostname or "").rstrip(".")
        except ValueError:
            return False
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            names = {"localhost", self.host.lower()}
            if not self._is_local():
                names |= {socket.gethostname().lower(), socket.getfqdn().lower()}
            return name in names - {""}
        return address.is_loopback or not self._is_local()

    def _is_local(self) -> bool:
        """Whether it listens to this machine alone."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


def _with_headers(response: Response) -> Response:
    for name, value in _HEADERS:
        response.headers[name] = value
    return response
