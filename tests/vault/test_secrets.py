import base64
import string
from datetime import UTC, datetime, timedelta

import pytest
import time_machine

from tests.vault.safe.models import Box
from vault.services import generate_secret, rotate

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def live(box: Box) -> list[str]:
    return [secret.value for secret in box.secrets.live()]


def test_a_generated_secret_carries_32_bytes_in_characters_that_anyone_takes() -> None:
    secret = generate_secret()
    assert len(base64.urlsafe_b64decode(secret)) >= 32
    assert not set(secret) - set(string.ascii_letters + string.digits + "-_")


def test_rotating_without_a_value_generates_one(box: Box) -> None:
    assert len(base64.urlsafe_b64decode(rotate(box.secrets, None, DAY).value)) >= 32


def test_both_secrets_are_live_during_the_overlap_newest_first(box: Box) -> None:
    with time_machine.travel(START, tick=False) as clock:
        rotate(box.secrets, "old", DAY)
        clock.shift(timedelta(minutes=1))
        rotate(box.secrets, "new", DAY)
        clock.shift(DAY - timedelta(seconds=1))
        assert live(box) == ["new", "old"]


def test_the_old_secret_ends_with_the_overlap(box: Box) -> None:
    with time_machine.travel(START, tick=False) as clock:
        rotate(box.secrets, "old", DAY)
        rotate(box.secrets, "new", DAY)
        clock.shift(DAY)
        assert live(box) == ["new"]


def test_secrets_of_one_moment_are_newest_first_too(box: Box) -> None:
    with time_machine.travel(START, tick=False):
        for value in ("one", "two", "three"):
            rotate(box.secrets, value, DAY)
        assert live(box) == ["three", "two", "one"]


def test_without_overlap_the_old_secret_ends_at_once(box: Box) -> None:
    with time_machine.travel(START, tick=False):
        rotate(box.secrets, "old", DAY)
        rotate(box.secrets, "new", timedelta(0))
        assert live(box) == ["new"]


def test_a_secret_that_ends_sooner_keeps_its_end(box: Box) -> None:
    with time_machine.travel(START, tick=False):
        first = rotate(box.secrets, "first", DAY)
        rotate(box.secrets, "second", timedelta(hours=1))
        rotate(box.secrets, "third", DAY)
        first.refresh_from_db()
        assert first.not_after == START + timedelta(hours=1)


def test_a_secret_that_would_end_later_ends_with_the_overlap(box: Box) -> None:
    with time_machine.travel(START, tick=False):
        first = rotate(box.secrets, "first", DAY)
        rotate(box.secrets, "second", 7 * DAY)
        rotate(box.secrets, "third", timedelta(hours=1))
        first.refresh_from_db()
        assert first.not_after == START + timedelta(hours=1)


def test_live_can_be_asked_of_another_moment(box: Box) -> None:
    with time_machine.travel(START, tick=False):
        rotate(box.secrets, "old", DAY)
        rotate(box.secrets, "new", DAY)
    assert [secret.value for secret in box.secrets.live(START)] == ["new", "old"]


def test_the_secrets_of_another_owner_are_left_alone(box: Box) -> None:
    other = Box.objects.create(label="another")
    rotate(other.secrets, "theirs", DAY)
    rotate(box.secrets, "mine", timedelta(0))
    assert live(other) == ["theirs"]


@pytest.mark.parametrize(("value", "overlap"), [("", DAY), ("new", -DAY)])
def test_an_empty_secret_or_a_negative_overlap_is_refused(
    box: Box, value: str, overlap: timedelta
) -> None:
    rotate(box.secrets, "old", DAY)
    with pytest.raises(ValueError, match="can't be"):
        rotate(box.secrets, value, overlap)
    assert live(box) == ["old"]
