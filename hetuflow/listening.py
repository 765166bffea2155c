"""Whether a server could listen on an address."""

import errno
import socket


class CannotListen(Exception):
    """Nobody can listen there; the message is one line for a person."""


def check_can_listen(host: str, port: int) -> None:
    """Raise CannotListen unless a server could listen on that address now."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen(1)
    except OSError as error:
        in_use = error.errno == errno.EADDRINUSE
        why = "is in use" if in_use else f"of {host} cannot be used: {error.strerror or error}"
        raise CannotListen(f"Port {port} {why}; choose another one with HETUFLOW_PORT") from error
