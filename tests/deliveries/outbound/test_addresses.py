import pytest

from deliveries.outbound import Policy
from deliveries.outbound.addresses import judge

# One address or two of every range (facts: outbound): the reason, and whether LAN allows it.
REFUSED = {
    "0.0.0.0": ("unspecified", False),
    "0.1.2.3": ("unspecified", False),
    "10.0.0.1": ("private", True),
    "10.255.255.255": ("private", True),
    "100.64.0.1": ("private", True),
    "100.127.255.255": ("private", True),
    "100.100.100.200": ("metadata", False),
    "127.0.0.1": ("loopback", True),
    "127.255.255.254": ("loopback", True),
    "168.63.129.16": ("metadata", False),
    "169.254.0.1": ("link-local", False),
    "169.254.169.254": ("metadata", False),
    "169.254.170.2": ("metadata", False),
    "172.16.0.1": ("private", True),
    "172.31.255.255": ("private", True),
    "192.0.0.1": ("reserved", False),
    "192.0.0.192": ("reserved", False),
    "192.0.2.1": ("documentation", False),
    "192.88.99.1": ("6to4", False),
    "192.168.1.1": ("private", True),
    "198.18.0.1": ("benchmarking", False),
    "198.19.255.255": ("benchmarking", False),
    "198.51.100.1": ("documentation", False),
    "203.0.113.1": ("documentation", False),
    "224.0.0.1": ("multicast", False),
    "239.255.255.255": ("multicast", False),
    "240.0.0.1": ("reserved", False),
    "255.255.255.255": ("broadcast", False),
    "::": ("unspecified", False),
    "::1": ("loopback", True),
    "::127.0.0.1": ("reserved", False),
    "::5efe:7f00:1": ("reserved", False),
    "::ffff:0:127.0.0.1": ("reserved", False),
    "64:ff9b:1::1": ("NAT64", False),
    "64:ff9b::1:0:0": ("reserved", False),
    "100::1": ("discard", False),
    "2001::1": ("reserved", False),
    "2001:10::1": ("reserved", False),
    "2001:db8::1": ("documentation", False),
    "2002:7f00:1::": ("6to4", False),
    "3fff::1": ("documentation", False),
    "5f00::1": ("reserved", False),
    "fc00::1": ("private", True),
    "fd12:3456::1": ("private", True),
    "fd00:ec2::254": ("metadata", False),
    "fe80::1": ("link-local", False),
    "fec0::1": ("private", False),
    "ff02::1": ("multicast", False),
}

ALLOWED = [
    "1.1.1.1",
    "9.255.255.255",
    "11.0.0.0",
    "93.184.216.34",
    "100.63.255.255",
    "100.128.0.0",
    "168.63.129.15",
    "172.15.255.255",
    "172.32.0.0",
    "192.0.1.1",
    "198.17.255.255",
    "198.20.0.0",
    "223.255.255.255",
    "::ffff:93.184.216.34",
    "64:ff9b::5db8:d822",
    "2001:200::1",
    "2003::1",
    "2606:4700::1111",
]


@pytest.mark.parametrize(("ip", "expected"), REFUSED.items())
def test_the_table_is_refused_with_its_reason(ip: str, expected: tuple[str, bool]) -> None:
    reason, lan = expected
    assert judge(ip) == reason
    assert judge(ip, Policy.LAN) == (None if lan else reason)


@pytest.mark.parametrize("ip", [ip for ip in REFUSED if ":" not in ip])
@pytest.mark.parametrize("prefix", ["::ffff:", "64:ff9b::"])
@pytest.mark.parametrize("policy", Policy)
def test_an_embedded_ipv4_address_takes_its_own_verdict(
    prefix: str, ip: str, policy: Policy
) -> None:
    assert judge(prefix + ip, policy) == judge(ip, policy)


@pytest.mark.parametrize("ip", ALLOWED)
def test_neighbours_of_the_ranges_are_allowed(ip: str) -> None:
    assert judge(ip) is None


def test_an_address_with_a_zone_is_link_local() -> None:
    assert judge("2606:4700::1111%eth0", Policy.LAN) == "link-local"


def test_a_name_is_not_an_address() -> None:
    with pytest.raises(ValueError, match="localhost"):
        judge("localhost")
