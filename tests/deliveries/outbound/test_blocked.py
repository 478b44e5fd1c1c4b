"""Server-side request forgery as a matrix: range x spelling x stage."""

from collections.abc import Callable
from typing import Any

import pytest
from django.core.exceptions import ValidationError

from deliveries.outbound import BlockedAddress, Policy, request, validate_outbound_url

from .test_addresses import REFUSED

V4 = [ip for ip in REFUSED if ":" not in ip]
V6 = [ip for ip in REFUSED if ":" in ip]


def parts(ip: str) -> list[int]:
    return [int(part) for part in ip.split(".")]


def number(ip: str) -> int:
    return int.from_bytes(bytes(parts(ip)), "big")


SPELLINGS: dict[str, Callable[[str], str]] = {
    "dotted": lambda ip: ip,
    "trailing dot": lambda ip: ip + ".",
    "decimal": lambda ip: str(number(ip)),
    "hex": lambda ip: hex(number(ip)),
    "upper hex": lambda ip: f"0X{number(ip):X}",
    "hex parts": lambda ip: ".".join(hex(part) for part in parts(ip)),
    "octal": lambda ip: f"0{number(ip):o}",
    "octal parts": lambda ip: ".".join(f"0{part:o}" for part in parts(ip)),
    "padded octal parts": lambda ip: ".".join(
        f"{part:#06o}".replace("o", "0") for part in parts(ip)
    ),
    "two parts": lambda ip: f"{parts(ip)[0]}.{number(ip) & 0xFFFFFF}",
    "three parts": lambda ip: f"{parts(ip)[0]}.{parts(ip)[1]}.{number(ip) & 0xFFFF}",
    "full-width": lambda ip: "".join(chr(ord(c) + 0xFEE0) if c != "." else c for c in ip),
    "ideographic dots": lambda ip: ip.replace(".", "。"),
    "half-width dots": lambda ip: ip.replace(".", "｡"),
    "mapped": lambda ip: f"[::ffff:{ip}]",
    "mapped hex": lambda ip: f"[::ffff:{number(ip) >> 16:x}:{number(ip) & 0xFFFF:x}]",
    "mapped in full": lambda ip: f"[0:0:0:0:0:FFFF:{number(ip) >> 16:X}:{number(ip) & 0xFFFF:X}]",
    "NAT64": lambda ip: f"[64:ff9b::{ip}]",
    "compatible": lambda ip: f"[::{ip}]",
}

Stage = Callable[[str, Policy], None]


def save(url: str, policy: Policy) -> None:
    with pytest.raises(ValidationError) as caught:
        validate_outbound_url(url, policy)
    assert caught.value.code == "blocked_url"


def send(url: str, policy: Policy) -> None:
    with pytest.raises(BlockedAddress) as caught:
        request("POST", url, body=b"{}", policy=policy)
    assert caught.value.error_class == "blocked"
    assert caught.value.sent is False
    assert caught.value.reason in str(caught.value)


stages = pytest.mark.parametrize("stage", [save, send])


@pytest.mark.parametrize("ip", V4)
@pytest.mark.parametrize("spelling", SPELLINGS)
@stages
def test_every_spelling_of_an_ipv4_address(
    ip: str, spelling: str, stage: Stage, connected: list[Any]
) -> None:
    stage(f"http://{SPELLINGS[spelling](ip)}/", Policy.PUBLIC)
    assert connected == []


@pytest.mark.parametrize("ip", V6)
@stages
def test_an_ipv6_address(ip: str, stage: Stage, connected: list[Any]) -> None:
    stage(f"https://[{ip}]:8443/hook", Policy.PUBLIC)
    assert connected == []


@pytest.mark.parametrize("ip", REFUSED)
@stages
def test_a_name_that_leads_there(
    ip: str, stage: Stage, names: dict[str, list[str]], connected: list[Any]
) -> None:
    names["receiver.example"] = [ip]
    stage("https://receiver.example/hook", Policy.PUBLIC)
    assert connected == []


@pytest.mark.parametrize("ip", [ip for ip, (_, lan) in REFUSED.items() if not lan])
@stages
def test_lan_and_the_setting_never_open_more_than_the_lan(
    ip: str,
    stage: Stage,
    names: dict[str, list[str]],
    connected: list[Any],
    settings: Any,
) -> None:
    names["receiver.example"] = [ip]
    host = f"[{ip}]" if ":" in ip else ip
    stage(f"http://{host}/", Policy.LAN)
    stage("http://receiver.example/", Policy.LAN)
    settings.OUTBOUND_ALLOW_PRIVATE = True
    stage(f"http://{host}/", Policy.PUBLIC)
    stage("http://receiver.example/", Policy.PUBLIC)
    assert connected == []


@pytest.mark.parametrize("ip", [ip for ip, (_, lan) in REFUSED.items() if lan])
def test_lan_opens_private_addresses(ip: str, settings: Any) -> None:
    host = f"[{ip}]" if ":" in ip else ip
    validate_outbound_url(f"http://{host}/", Policy.LAN)
    settings.OUTBOUND_ALLOW_PRIVATE = True
    validate_outbound_url(f"http://{host}/")


@pytest.mark.parametrize(
    "answers",
    [["93.184.216.34", "127.0.0.1"], ["10.0.0.1", "93.184.216.34"], ["93.184.216.34", "fe80::1"]],
)
@stages
def test_one_bad_answer_refuses_the_name(
    answers: list[str], stage: Stage, names: dict[str, list[str]], connected: list[Any]
) -> None:
    names["mixed.example"] = answers
    stage("http://mixed.example/", Policy.PUBLIC)
    assert connected == []


def test_the_message_names_the_reason_and_not_the_address(names: dict[str, list[str]]) -> None:
    names["inside.example"] = ["10.20.30.40"]
    with pytest.raises(BlockedAddress) as caught:
        request("GET", "http://inside.example/")
    assert "private" in str(caught.value)
    assert "10.20.30.40" not in str(caught.value)
