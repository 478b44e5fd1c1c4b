"""The addresses Hermes does not send to, each with its reason.

The table is the one of the fact sheet (facts: outbound), the union of what the careful senders
refuse. `ipaddress.is_global` and its siblings are not asked: on CPython 3.11 they call 6to4,
NAT64, site-local and multicast addresses global.
"""

import enum
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import NamedTuple

from django.conf import settings


class Policy(enum.Enum):
    """How far a request may go."""

    PUBLIC = "public"  # the table below, whole
    LAN = "lan"  # loopback and private networks too; never metadata, link-local or multicast


def in_force(policy: Policy) -> Policy:
    """Widen a policy to LAN where the operator has set OUTBOUND_ALLOW_PRIVATE."""
    return Policy.LAN if settings.OUTBOUND_ALLOW_PRIVATE else policy


class _Rule(NamedTuple):
    network: str
    reason: str
    lan: bool = False  # allowed under Policy.LAN


# The first match decides, so single addresses stand before the range that holds them.
TABLE = (
    # Cloud metadata and platform services.
    _Rule("169.254.169.254/32", "metadata"),
    _Rule("169.254.170.2/32", "metadata"),
    _Rule("100.100.100.200/32", "metadata"),
    _Rule("168.63.129.16/32", "metadata"),  # Azure; looks public
    _Rule("fd00:ec2::254/128", "metadata"),
    # IPv4
    _Rule("0.0.0.0/8", "unspecified"),
    _Rule("10.0.0.0/8", "private", lan=True),
    _Rule("100.64.0.0/10", "private", lan=True),  # carrier NAT, also Tailscale
    _Rule("127.0.0.0/8", "loopback", lan=True),
    _Rule("169.254.0.0/16", "link-local"),
    _Rule("172.16.0.0/12", "private", lan=True),
    _Rule("192.0.0.0/24", "reserved"),
    _Rule("192.0.2.0/24", "documentation"),
    _Rule("192.88.99.0/24", "6to4"),
    _Rule("192.168.0.0/16", "private", lan=True),
    _Rule("198.18.0.0/15", "benchmarking"),
    _Rule("198.51.100.0/24", "documentation"),
    _Rule("203.0.113.0/24", "documentation"),
    _Rule("224.0.0.0/4", "multicast"),
    _Rule("255.255.255.255/32", "broadcast"),
    _Rule("240.0.0.0/4", "reserved"),
    # IPv6
    _Rule("::/128", "unspecified"),
    _Rule("::1/128", "loopback", lan=True),
    _Rule("64:ff9b:1::/48", "NAT64"),
    _Rule("::/8", "reserved"),  # IPv4-compatible, IPv4-translated and other old spellings
    _Rule("100::/64", "discard"),
    _Rule("2001::/23", "reserved"),  # Teredo, ORCHID
    _Rule("2001:db8::/32", "documentation"),
    _Rule("2002::/16", "6to4"),
    _Rule("3fff::/20", "documentation"),
    _Rule("5f00::/16", "reserved"),  # segment routing
    _Rule("fc00::/7", "private", lan=True),
    _Rule("fe80::/10", "link-local"),
    _Rule("fec0::/10", "private"),  # site-local, withdrawn
    _Rule("ff00::/8", "multicast"),
)

_NETWORKS = tuple((ip_network(rule.network), rule) for rule in TABLE)
# Addresses that stand for an IPv4 one in their last 32 bits take the verdict of that one.
_WRAPPERS = (IPv6Network("::ffff:0:0/96"), IPv6Network("64:ff9b::/96"))


@lru_cache(maxsize=1024)
def judge(ip: str, policy: Policy = Policy.PUBLIC) -> str | None:
    """Return why an address is refused ("loopback", "metadata", …), or None if it is allowed.

    `ip` is an address as `getaddrinfo` or `inet_ntop` writes it; anything else raises ValueError.
    The policy is taken as given: settings are the caller's (`in_force`).
    """
    address = _unwrapped(ip_address(ip))
    if isinstance(address, IPv6Address) and address.scope_id:
        return "link-local"
    for network, rule in _NETWORKS:
        if address in network:
            return None if rule.lan and policy is Policy.LAN else rule.reason
    return None


def _unwrapped(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    if any(address in wrapper for wrapper in _WRAPPERS):
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address
