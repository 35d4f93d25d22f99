"""Checks of every request, and headers of every response. They protect a local server from web pages of others.

A web page that somebody visits can send requests to servers on the same machine. Three checks refuse them:

- The `Host` header must name this server. A page whose host name was changed to point to this machine (DNS rebinding)
  sends its own name.
- The `Origin` header, which browsers add to WebSocket and POST requests, must be this server. Programs such as curl
  send none.
- `Sec-Fetch-Site`, which browsers add to all requests, must not be another site.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from typing import Any, Awaitable, Callable, Mapping, MutableMapping, Sequence

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

# A name, an IPv4 address, or an IPv6 address in brackets, and a port. The header is a part of the policy that browsers
# get, so it must have no other characters.
_HOST = re.compile(r"(?:\[(?P<address>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9._-]+))(?::(?P<port>[0-9]{1,5}))?")
_HIGHEST_PORT = 65_535
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(self), microphone=(self), geolocation=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self' {sockets}; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def is_loopback(host: str) -> bool:
    """Return whether a host name or address means this machine only."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class HostNames:
    """The host names under which browsers may address the server.

    Args:
        host: the address that the server is bound to. On the loopback interface, only its own names are accepted; else
            also any IP address, which no DNS server can change, the name of this machine, and `host`.
        others: further names, such as that of a proxy.
    """

    def __init__(self, host: str, others: Sequence[str] = ()) -> None:
        self._is_loopback = is_loopback(host)
        name = socket.gethostname().lower()
        own = () if self._is_loopback else (host, name, f"{name}.local")
        self._names = {item.lower() for item in (*own, *others)}

    def accepts(self, header: str) -> bool:
        """Return whether a `Host` header, with or without a port, is accepted."""
        name = host_name(header)
        if name is None:
            return False
        if is_loopback(name) or name in self._names:
            return True
        return not self._is_loopback and _is_address(name)


def host_name(header: str) -> str | None:
    """Return the host name of a `Host` header in lower case, without the port; None if the header is invalid."""
    found = _HOST.fullmatch(header)
    if found is None or int(found["port"] or 0) > _HIGHEST_PORT:
        return None
    if found["address"] is None:
        return found["name"].lower()
    try:
        return str(ipaddress.IPv6Address(found["address"]))
    except ValueError:
        return None


def check_headers(method: str, headers: Mapping[str, str], names: HostNames) -> str | None:
    """Return why a request must be refused, in one line; None if it may be answered.

    Args:
        method: `GET`, `POST` and so on.
        headers: the headers of the request, with names in lower case.
        names: accepted host names.
    """
    host = headers.get("host", "")
    if not names.accepts(host):
        return f"The Host header must name this server, got {host!r:.80}. Open the address that the server prints."
    origin = headers.get("origin")
    if origin is not None and not _is_same(origin, host):
        return f"Requests of other web pages are refused, this one is of {origin!r:.80}."
    site = headers.get("sec-fetch-site", "none")
    if site not in {"none", "same-origin"} and not (method == "GET" and _is_navigation(headers)):
        return f"Requests of other web pages are refused, this one is {site!r:.40}."
    return None


def response_headers(host: str) -> dict[str, str]:
    """Return the headers of every response to a request with this `Host`, which has been checked."""
    return {**_HEADERS, "Content-Security-Policy": _POLICY.format(sockets=f"ws://{host} wss://{host}")}


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _is_same(origin: str, host: str) -> bool:
    """Return whether the origin is the host. The scheme may be https, of a proxy that adds encryption."""
    scheme, found, rest = origin.partition("://")
    return bool(found) and scheme in {"http", "https"} and rest.lower() == host.lower()


def _is_navigation(headers: Mapping[str, str]) -> bool:
    """Return whether somebody follows a link to a page of this server. It changes nothing."""
    return headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
