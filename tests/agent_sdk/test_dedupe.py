"""Stores of delivery ids; each holds what the dispatcher asks of them."""

import sqlite3
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
import time_machine

from agent_sdk import DedupeStore, MemoryStore, SQLiteStore
from agent_sdk.dedupe import MOST, State


@pytest.fixture(params=["memory", "file"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> DedupeStore:
    makers: dict[str, Callable[[], DedupeStore]] = {
        "memory": MemoryStore,
        "file": lambda: SQLiteStore(tmp_path / "seen.sqlite3"),
    }
    return makers[request.param]()


def test_a_delivery_is_new_then_busy_then_done(store: DedupeStore) -> None:
    assert store.begin("d1") is State.NEW
    assert store.begin("d1") is State.BUSY
    store.done("d1")
    assert store.begin("d1") is State.DONE
    assert store.begin("d2") is State.NEW


def test_what_failed_is_new_again(store: DedupeStore) -> None:
    store.begin("d1")
    store.forget("d1")
    assert store.begin("d1") is State.NEW
    store.forget("unknown")


def test_it_remembers_for_24_hours(store: DedupeStore) -> None:
    with time_machine.travel("2026-05-15T10:00:00Z", tick=False) as clock:
        store.begin("d1")
        store.done("d1")
        clock.shift(timedelta(hours=23, minutes=59))
        assert store.begin("d1") is State.DONE
        clock.shift(timedelta(minutes=2))
        assert store.begin("d1") is State.NEW


def test_what_was_begun_by_a_process_that_died_is_new_after_five_minutes(
    store: DedupeStore,
) -> None:
    with time_machine.travel("2026-05-15T10:00:00Z", tick=False) as clock:
        store.begin("d1")
        clock.shift(timedelta(minutes=4, seconds=59))
        assert store.begin("d1") is State.BUSY
        clock.shift(timedelta(seconds=2))
        assert store.begin("d1") is State.NEW
        assert store.begin("d1") is State.BUSY


def test_of_many_that_begin_at_once_one_does(store: DedupeStore) -> None:
    found: list[State] = []
    threads = [threading.Thread(target=lambda: found.append(store.begin("d1"))) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found.count(State.NEW) == 1
    assert found.count(State.BUSY) == 15


def test_memory_is_bounded() -> None:
    store = MemoryStore()
    for number in range(MOST + 1):
        store.begin(str(number))
    assert store.begin("0") is State.NEW
    assert store.begin(str(MOST)) is State.BUSY


def test_memory_forgets_what_is_past_its_time() -> None:
    store = MemoryStore()
    with time_machine.travel("2026-05-15T10:00:00Z", tick=False) as clock:
        store.begin("d1")
        store.done("d1")
        clock.shift(timedelta(hours=25))
        store.begin("d2")
        assert list(store._until) == ["d2"]


def test_a_file_is_shared_by_processes_and_forgets_what_is_past_its_time(tmp_path: Path) -> None:
    path = tmp_path / "seen.sqlite3"
    with time_machine.travel("2026-05-15T10:00:00Z", tick=False) as clock:
        first, second = SQLiteStore(path), SQLiteStore(path)
        first.begin("d1")
        assert second.begin("d1") is State.BUSY
        first.done("d1")
        assert second.begin("d1") is State.DONE
        clock.shift(timedelta(hours=25))
        second.begin("d2")
        second.close()
    with sqlite3.connect(path) as file:
        assert file.execute("SELECT id FROM taken").fetchall() == [("d2",)]
