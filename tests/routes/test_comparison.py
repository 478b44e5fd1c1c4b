"""How long a wrong signature takes to be refused says nothing of the right one.

A comparison that stops at the first difference is told by texts of a million characters: one that
differs at once is then refused a hundred times sooner than one that differs at the end.
"""

import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from hmac import compare_digest
from types import FrameType

import pytest

from routes.handshakes import greet
from routes.presets import Preset, presets
from routes.presets.record import Scheme
from routes.signatures.judging import Judge
from routes.signatures.schemes import check_of, signer_of

from .keypairs import secret_pair

NOW = 1_700_000_000.0
LONG = 1_000_000
TRIES = 7
# An early exit is a factor of a hundred and more; the rest is a machine with other work.
ALIKE = 4.0
KEYED = [one for one in presets().values() if one.scheme in (Scheme.HMAC, Scheme.HASH)]


def seconds(act: Callable[[], object]) -> float:
    """Return the shortest of a few tries: what else the machine does only makes it longer."""
    found = []
    for _ in range(TRIES):
        began = time.perf_counter()
        assert not act()
        found.append(time.perf_counter() - began)
    return min(found)


def assert_no_early_exit(check: Callable[[bytes], object], right: bytes) -> None:
    assert len(right) >= LONG
    at_once = b"!" + right[1:]
    at_the_end = right[:-1] + b"!"
    assert check(right)
    early, late = seconds(lambda: check(at_once)), seconds(lambda: check(at_the_end))
    assert late < ALIKE * early


@pytest.mark.parametrize("preset", KEYED, ids=lambda preset: preset.name)
def test_a_signature_is_compared_whole(preset: Preset) -> None:
    secret = secret_pair(preset)[1]
    # What is compared is as long as its prefix makes it.
    long = replace(preset, prefix="x" * LONG, variants=())
    prepare, sign = check_of(long, secret), signer_of(long, secret, NOW)
    assert prepare
    assert sign
    assert_no_early_exit(prepare(b"text"), sign(b"text"))


@pytest.mark.parametrize("name", ["gitlab", "telegram", "microsoft_graph", "feishu_token"])
def test_a_token_is_compared_whole(name: str) -> None:
    secret = "s" * LONG
    prepare = check_of(presets()[name], secret)
    assert prepare
    assert_no_early_exit(prepare(b""), secret.encode())


def calls(act: Callable[[], object]) -> list[object]:
    """Return the functions in C that are called, where too much else is done to take the time."""
    found: list[object] = []

    def note(_frame: FrameType, event: str, function: object) -> None:
        if event == "c_call":
            found.append(function)

    sys.setprofile(note)
    try:
        assert act()
    finally:
        sys.setprofile(None)
    return found


def test_bearer_tokens_and_passwords_are_compared_whole() -> None:
    for name, secret in (("bearer", "one"), ("basic", "user:one")):
        preset = presets()[name]
        prepare, sign = check_of(preset, secret), signer_of(preset, secret, NOW)
        assert prepare
        assert sign
        check, right = prepare(b""), sign(b"")
        assert compare_digest in calls(partial(check, right))


def test_a_web_tokens_signature_is_compared_whole() -> None:
    preset = presets()["jira_app"]
    prepare, sign = check_of(preset, "one"), signer_of(preset, "one", NOW)
    assert prepare
    assert sign
    check, right = prepare(b""), sign(b"")
    assert compare_digest in calls(partial(check, right))


@pytest.mark.parametrize("name", ["github", "gitlab"])
def test_the_short_way_compares_whole_as_well(name: str) -> None:
    preset = presets()[name]
    judge, sign = Judge(preset, ["one"]), signer_of(preset, "one", NOW)
    assert sign
    headers = {preset.header: sign(b"{}").decode()}
    assert compare_digest in calls(lambda: judge.judge(headers, b"{}", NOW))


def test_a_word_of_a_handshake_is_compared_whole() -> None:
    query = "hub.mode=subscribe&hub.challenge=1&hub.verify_token=one"
    act = partial(greet, presets()["meta"], ["app:one"], "GET", query, {}, None, None, now=NOW)
    assert compare_digest in calls(act)
