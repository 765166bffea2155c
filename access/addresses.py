"""Where a request came from: the peer's address, or the one before it that a trusted proxy tells of (pure).

`X-Forwarded-For` is what anybody may write. Each proxy appends whom it heard from, so only the entries that
trusted proxies appended can be believed, and those are the last ones.
"""

import ipaddress
import re
from collections.abc import Iterable, Sequence
from typing import Final

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

MAX_CHARS: Final = 64
# Who has one address of IPv6 has as a rule this many of its bits to choose from.
_CALLER_BITS: Final = 64
_WITH_PORT: Final = re.compile(r"\[(?P<v6>[^\]]*)\](?::\d+)?\Z|(?P<v4>[\d.]+):\d+\Z")


def read_networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Return the networks that the texts name, such as `10.0.0.0/8` or `::1`; raise ValueError."""
    return tuple(ipaddress.ip_network(text.strip()) for text in texts if text.strip())


def client_address(peer: str, forwarded_for: str, *, trusted: Sequence[Network]) -> str:
    """Return the nearest address that is no trusted proxy's, from the peer backwards."""
    address, hops = _read(peer), forwarded_for.split(",")
    if address is None:
        return peer[:MAX_CHARS]
    while hops and _is_trusted(address, trusted):
        before = _read(hops.pop())
        if before is None:
            break
        address = before
    return str(address)


def caller_at(address: str) -> str:
    """Return what counts as one caller: an address of IPv4, of IPv6 the network that it is from."""
    found = _read(address)
    if isinstance(found, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((found, _CALLER_BITS), strict=False))
    return address


def _is_trusted(address: Address, trusted: Sequence[Network]) -> bool:
    return any(address in network for network in trusted)


def _read(text: str) -> Address | None:
    """Return an address, None for what is none; one of IPv4 in IPv6's clothes is one of IPv4."""
    text = text.strip().strip('"')
    if with_port := _WITH_PORT.match(text):
        text = with_port["v6"] or with_port["v4"] or ""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
