"""Direct delivery while the sender waits."""

import socket
import time

import pytest

from tests.gateway.process import eventually

from .server import PROVIDER_WORDS, Places, Web, at_once, request

pytestmark = [pytest.mark.processes, pytest.mark.both_databases]


def test_a_direct_delivery_answers_200_once_it_is_there(web: Web) -> None:
    answer = web.send(request(path="/webhooks/to-ok", delivery="direct"))
    assert (answer.status, answer.json["status"]) == (200, "delivered")
    assert answer.json["target"] == "webhook"


def test_a_failed_direct_delivery_is_502_in_our_own_words_and_may_be_sent_again(web: Web) -> None:
    again = request(path="/webhooks/to-broken", delivery="second chance")
    answer = web.send(again)
    expected = {"status": "error", "error": "Delivery failed", "delivery_id": "second chance"}
    assert (answer.status, answer.json) == (502, expected)
    assert PROVIDER_WORDS.encode() not in answer.raw
    Places.broken = False
    try:
        assert web.send(again).json["status"] == "delivered"
    finally:
        Places.broken = True
    assert web.send(again).json["status"] == "duplicate"


def test_two_direct_deliveries_of_one_id_at_once_are_one_send(web: Web) -> None:
    Places.arrived.clear()
    answers = at_once(
        2, lambda _: web.send(request(path="/webhooks/to-slow", delivery="once, please"))
    )
    assert sorted(answer.json["status"] for answer in answers) == ["delivered", "duplicate"]
    assert Places.arrived == ["/slow"]


def test_a_sender_that_hangs_up_early_does_not_undo_its_direct_delivery(web: Web) -> None:
    again = request(path="/webhooks/to-slow", delivery="hung up")
    Places.arrived.clear()
    with socket.create_connection(("127.0.0.1", web.port)) as wire:
        wire.sendall(again)
        eventually(lambda: Places.arrived, 5, "the delivery")
    time.sleep(0.8)
    assert web.send(again).json["status"] == "duplicate"
    assert Places.arrived == ["/slow"]


def test_direct_deliveries_to_a_black_hole_all_end_within_their_time(web: Web) -> None:
    """More at once than there are threads to send them: nobody waits for a second round."""
    began = time.monotonic()
    answers = at_once(24, lambda _: _patiently(web, request(path="/webhooks/to-hole")))
    assert set(answers) <= {502, 503}
    assert time.monotonic() - began < 14


def _patiently(web: Web, frame: bytes) -> int:
    with socket.create_connection(("127.0.0.1", web.port), timeout=40) as wire:
        wire.sendall(frame)
        return int(wire.recv(65_536).split()[1])
