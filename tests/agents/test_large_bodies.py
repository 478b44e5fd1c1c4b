"""Bodies above 1 MB: kept in the storage, referred to on the wire, gone with the ledger."""

import base64
import json
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.core.files.storage import storages
from django.utils import timezone
from pytest_django import Settings

from agents import envelope, wire
from agents.connections.webhook import WebhookDestination
from agents.models import Agent, StoredObject
from agents.services.keys import set_public_key
from agents.storage import StorageFailed, check_storage, keep, purge_objects, read
from deliveries.clockwork import purge
from deliveries.models import Delivery
from deliveries.outcomes import Message, Verdict

from .conftest import SECRET, deliver, make_agent, make_message
from .receiver import Receiver
from .test_sealing import PUBLIC_KEY

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def folder(settings: Settings, tmp_path: Path) -> Path:
    """The storage, in a folder of the test's own."""
    folder = tmp_path / "objects"
    options = settings.STORAGES["objects"]["OPTIONS"] | {"location": folder}
    objects = settings.STORAGES["objects"] | {"OPTIONS": options}
    settings.STORAGES = settings.STORAGES | {"objects": objects}
    return folder


def large(**facts: Any) -> Message:
    return make_message(payload={"type": "text", "text": "长" * 400_000}, **facts)


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_the_largest_body_that_fits_goes_as_it_is_and_one_byte_more_does_not(agent: Agent) -> None:
    def sized(characters: int) -> Message:
        return make_message(payload={"type": "text", "text": "x" * characters})

    # Base64 writes three bytes as four.
    fits = (wire.BODY_LIMIT - len(wire.body(sized(0)))) // 4 * 3
    whole = wire.body_for(sized(fits), agent)
    assert wire.BODY_LIMIT - 8 < len(whole) <= wire.BODY_LIMIT
    assert not StoredObject.objects.exists()
    assert json.loads(wire.body_for(sized(fits + 8), agent))["wire_envelope"] is None


def test_the_stub_is_the_one_of_the_spec(agent: Agent) -> None:
    message = large()
    body = wire.body_for(message, agent)
    stored = StoredObject.objects.get()
    assert json.loads(body) == {
        "type": "message.new",
        "version": "v1",
        "wire_envelope": None,
        "ref": {
            "type": "r2",
            "object_key": f"ref://{stored.key}",
            "size": len(envelope.content(message)),
            "content_type": "application/octet-stream",
        },
        "metadata": json.loads(wire.body(message))["metadata"],
    }
    assert list(json.loads(body)) == ["type", "version", "wire_envelope", "ref", "metadata"]


def test_what_is_kept_is_the_envelope(agent: Agent) -> None:
    message = large()
    wire.body_for(message, agent)
    assert read(StoredObject.objects.get()) == envelope.content(message)


def test_every_attempt_refers_to_the_same_object(agent: Agent, folder: Path) -> None:
    first = wire.body_for(large(), agent)
    assert wire.body_for(large(number=2, retrying=True), agent) == first
    assert len(files(folder)) == 1


def test_for_an_agent_with_a_public_key_it_is_kept_sealed(agent: Agent, folder: Path) -> None:
    agent.public_key = PUBLIC_KEY
    wire.body_for(large(), agent)
    [file] = files(folder)
    assert json.loads(file.read_bytes())["version"] == "v1.1"


def test_files_are_closed_to_others(agent: Agent, folder: Path) -> None:
    wire.body_for(large(), agent)
    [file] = files(folder)
    assert file.stat().st_mode & 0o077 == 0


def test_a_webhook_is_posted_the_stub(receiver: Receiver) -> None:
    agent = make_agent("large", webhook_url=receiver.url)
    outcome = WebhookDestination(agent, [SECRET]).send(large())
    assert outcome.verdict == Verdict.DELIVERED
    assert json.loads(receiver.requests[0].body)["ref"]["type"] == "r2"
    assert len(receiver.requests[0].body) < 1000


def test_a_storage_that_fails_is_a_retry_and_leaves_no_row(
    agent: Agent, settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "no-folder").write_text("a file where a folder should be")
    objects = {
        "BACKEND": "django.core.files.storage.FileSystemStorage",
        "OPTIONS": {"location": tmp_path / "no-folder"},
    }
    settings.STORAGES = settings.STORAGES | {"objects": objects}
    outcome = WebhookDestination(agent, [SECRET]).send(large())
    assert (outcome.verdict, outcome.error_class) == (Verdict.RETRY, "storage")
    assert not StoredObject.objects.exists()


def test_two_attempts_at_once_agree_on_one_object(agent: Agent, folder: Path) -> None:
    delivery_id = uuid4()
    storage = storages["objects"]
    save = type(storage).save

    def save_late(self: Any, *arguments: Any) -> str:
        type(storage).save = save  # type: ignore[method-assign]
        others.append(keep(agent, delivery_id, b"theirs"))
        return save(self, *arguments)

    others: list[StoredObject] = []
    type(storage).save = save_late  # type: ignore[method-assign, assignment]
    try:
        ours = keep(agent, delivery_id, b"ours")
    finally:
        type(storage).save = save  # type: ignore[method-assign]
    assert [ours] == others
    assert read(ours) == b"theirs"
    assert len(files(folder)) == 1


def test_an_object_whose_file_is_lost_says_so(agent: Agent, folder: Path) -> None:
    wire.body_for(large(), agent)
    files(folder)[0].unlink()
    with pytest.raises(StorageFailed):
        read(StoredObject.objects.get())


def test_it_stays_while_its_delivery_does_and_goes_with_it(
    agent: Agent, settings: Settings, folder: Path
) -> None:
    delivery = deliver(agent)
    wire.body_for(large(id=delivery.pk), agent)
    assert purge_objects(timezone.now()) == 0
    Delivery.objects.update(status="delivered", pending_lane=None, next_attempt_at=None)
    later = timezone.now() + timedelta(days=settings.LEDGER_DAYS, hours=1)
    purge(later)
    assert purge_objects(later) == 1
    assert not StoredObject.objects.exists()
    assert files(folder) == []


def test_more_than_one_batch_is_removed(agent: Agent, folder: Path) -> None:
    for _number in range(60):
        keep(agent, uuid4(), b"x")
    assert purge_objects(timezone.now()) == 60
    assert files(folder) == []


def test_a_file_that_cannot_be_removed_keeps_its_row_for_the_next_time(
    agent: Agent, folder: Path
) -> None:
    stored = keep(agent, uuid4(), b"x")
    [file] = files(folder)
    file.unlink()
    file.mkdir()  # which no storage takes for a file
    (file / "in-the-way").touch()
    assert purge_objects(timezone.now()) == 0
    assert StoredObject.objects.get() == stored


@pytest.mark.django_db(transaction=True)
def test_with_its_agent_the_file_goes_too(folder: Path) -> None:
    agent = make_agent("leaving")
    keep(agent, uuid4(), b"x")
    agent.delete()
    assert not StoredObject.objects.exists()
    assert files(folder) == []


def test_a_new_public_key_seals_anew_what_waits_and_leaves_what_was_taken(agent: Agent) -> None:
    taken, waits = deliver(agent), deliver(agent)
    for delivery in (taken, waits):
        wire.body_for(large(id=delivery.pk), agent)
    Delivery.objects.filter(pk=taken.pk).update(status="delivered", pending_lane=None)
    set_public_key(agent, PUBLIC_KEY)
    assert StoredObject.objects.get().delivery_id == taken.pk
    wire.body_for(large(id=waits.pk), agent)
    kept = read(StoredObject.objects.get(delivery_id=waits.pk))
    assert json.loads(kept)["version"] == "v1.1"


def test_a_bucket_without_what_speaks_to_buckets_stops_the_start(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert check_storage(None) == []
    settings.OBJECTS_BUCKET = "bodies"
    monkeypatch.setattr("agents.storage.find_spec", lambda name: None)
    [error] = check_storage(None)
    assert error.id == "agents.E001"
    assert "django-storages" in str(error.hint)


def test_the_key_of_an_object_cannot_be_guessed(agent: Agent) -> None:
    key = keep(agent, uuid4(), b"x").key
    assert len(base64.urlsafe_b64decode(key)) == 24
