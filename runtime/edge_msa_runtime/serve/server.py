"""Run the web application on a socket until a signal ends it."""

from __future__ import annotations

import contextlib
import errno
import socket
import threading
import time
from typing import TYPE_CHECKING, Any, Iterator, Mapping

from edge_msa_runtime.errors import UsageError
from edge_msa_runtime.serve.application import create_application
from edge_msa_runtime.serve.connections import create_protocol
from edge_msa_runtime.vendor_packages import import_package

if TYPE_CHECKING:
    from edge_msa_runtime.serve.security import HostNames
    from edge_msa_runtime.serve.service import Service

_BACKLOG = 256
_GRACE_SECONDS = 3
_END_SECONDS = 10.0
"""Time in which all threads must end. A recognizer needs some seconds for the sound that it has begun."""
_HEADER_BYTES = 64 * 1024
_KEEPALIVE = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3}
"""Seconds without data, seconds between pings, and number of pings, after which a connection has no peer."""


@contextlib.contextmanager
def open_socket(host: str, port: int) -> Iterator[socket.socket]:
    """Listen on an address while the context is active.

    Args:
        host: IP address or name of this machine.
        port: TCP port; 0 for any free one.

    Raises:
        UsageError: the address cannot be used. The message says why.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except socket.gaierror:
        raise UsageError(f"--host must be an IP address or a name of this machine, got {host!r:.80}.") from None
    opened = socket.socket(family, socket.SOCK_STREAM)
    with opened:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)  # accepted connections inherit it
        for name, value in _KEEPALIVE.items():
            if hasattr(socket, name):
                opened.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        try:
            opened.bind(address)
            opened.listen(_BACKLOG)
        except OSError as error:
            reasons = {
                errno.EADDRINUSE: (f"another program uses port {port}", "Choose another --port, or 0 for any."),
                errno.EACCES: (f"port {port} needs rights of the system", "Choose a --port above 1023."),
                errno.EADDRNOTAVAIL: (f"this machine does not have the address {host}", "Choose another --host."),
            }
            reason, fix = reasons.get(error.errno or 0, (str(error.strerror), "Choose another --host or --port."))
            raise UsageError(f"Cannot listen on {host}: {reason}. {fix}") from None
        yield opened


def address_of(listener: socket.socket) -> str:
    """Return the URL of a listening socket for a browser on this machine."""
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


class Server:
    """The web application on a socket, in a thread of its own. Use it as a context manager.

    Args:
        service: what is served.
        listener: a socket of `open_socket`.
        names: host names that requests may use.

    Attributes:
        has_ended: whether all its threads have ended. If not, Python must not end normally: it would abort.

    Raises:
        PackageImportError: a package of the extra `serve` is not installed.
    """

    def __init__(self, service: Service, listener: socket.socket, names: HostNames) -> None:
        uvicorn: Any = import_package("uvicorn")
        import_package("websockets")
        limits = service.limits
        self._work = service.work
        self.has_ended = False
        self._application = create_application(service, names)
        config = uvicorn.Config(
            self._application,
            loop="asyncio",
            http=create_protocol(limits),
            lifespan="off",
            log_config=None,
            log_level="critical",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            backlog=_BACKLOG,
            ws_max_size=limits.message_bytes,
            # While sound waits, nothing is read, so that the answer to a ping is not seen in time. The limits of idle
            # time, and TCP's own pings, end connections without a peer.
            ws_ping_timeout=None,
            ws_per_message_deflate=False,
            h11_max_incomplete_event_size=_HEADER_BYTES,
            timeout_graceful_shutdown=_GRACE_SECONDS,
        )
        self._server: Any = uvicorn.Server(config)
        # `Thread.join` of Python 3.11 takes a thread for ended if a signal interrupts it.
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(listener,), name="edge-msa server", daemon=True)

    def _run(self, listener: socket.socket) -> None:
        try:
            self._server.run(sockets=[listener])
        finally:
            self._is_over.set()

    def __enter__(self) -> Server:  # noqa: PYI034 - typing.Self needs Python 3.11
        try:
            self._thread.start()
            while not (self._server.started or self._is_over.is_set()):
                time.sleep(0.01)
        except BaseException:  # Ctrl-C at the start
            self.end()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self.end()

    def end(self) -> None:
        """End all live streams and requests, and wait for their threads for up to 10 s."""
        end = time.monotonic() + _END_SECONDS
        if self._thread.ident is None:
            self._is_over.set()
        self._server.should_exit = True
        self._work.end()
        with contextlib.suppress(KeyboardInterrupt):  # of somebody who does not want to wait
            self.has_ended = self._is_over.wait(_END_SECONDS) and self._work.wait(end - time.monotonic())

    @property
    def counts(self) -> Mapping[str, int]:
        """Number of requests so far, and of those that were refused."""
        return self._application.counts

    def wait(self) -> None:
        """Wait until the server ends, which only a signal or an error causes."""
        while not self._is_over.wait(0.5):
            pass
