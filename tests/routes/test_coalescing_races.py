"""Coalescing with several web processes at once, and beside a busy engine."""

import threading
from collections.abc import Callable
from datetime import timedelta

import pytest
import time_machine
from django.db import connections
from django.utils import timezone

from deliveries.models import Delivery
from deliveries.record import write
from deliveries.runner import run_until_idle
from deliveries.transactions import write_transaction
from routes.coalescing import Held, hold_back
from tests.deliveries.places import make_place

from .held import arrive, coalesce, key_of, new


@pytest.mark.django_db(transaction=True)
def test_of_many_processes_at_once_one_delivery_of_a_key_is_left() -> None:
    place = make_place("agent")
    barrier = threading.Barrier(6)
    errors: list[Exception] = []

    def come(number: int) -> None:
        barrier.wait()
        try:
            for index in range(5):
                # Two keys in both orders: whoever locked them one by one would wait in a circle.
                keys = ("7", "8") if (number + index) % 2 else ("8", "7")
                held = [Held(key_of(key), coalesce(), new(place, "x")) for key in keys]
                with write_transaction():
                    write([one.delivery.event for one in held], hold_back(held, timezone.now()))
        except Exception as error:
            errors.append(error)
        finally:
            connections.close_all()

    in_parallel(come, 6)
    assert errors == []
    assert Delivery.objects.filter(status="pending").count() == 2
    assert Delivery.objects.filter(status="skipped").count() == 58
    left = Delivery.objects.filter(status="pending").values_list("metadata", flat=True)
    assert [metadata["superseded"] for metadata in left] == [29, 29]


@pytest.mark.django_db(transaction=True)
def test_beside_a_busy_engine_each_event_is_sent_or_replaced_and_none_both() -> None:
    place = make_place("agent", cap=8)
    how = coalesce(window=0.005, max_wait=0.05)
    done = threading.Event()
    errors: list[Exception] = []

    def send() -> None:
        try:
            while not done.is_set():
                run_until_idle()
        except Exception as error:
            errors.append(error)
        finally:
            connections.close_all()

    def come(number: int) -> None:
        try:
            for index in range(40):
                arrive(place, f"{number}:{index}", key=str(index % 3), how=how)
        except Exception as error:
            errors.append(error)
        finally:
            connections.close_all()

    sender = threading.Thread(target=send)
    sender.start()
    in_parallel(come, 2)
    done.set()
    sender.join()
    with time_machine.travel(timezone.now() + timedelta(seconds=1)):
        run_until_idle()
    assert errors == []
    sent = [message.id for message in place.sent]
    delivered = Delivery.objects.filter(status="delivered").values_list("pk", flat=True)
    assert len(sent) == len(set(sent))
    assert set(sent) == set(delivered)
    assert Delivery.objects.filter(status="skipped", attempt_count=0).count() == 80 - len(sent)


def in_parallel(work: Callable[[int], None], count: int) -> None:
    threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
