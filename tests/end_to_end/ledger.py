"""What a gateway's ledger says, read past Django."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from tests.gateway.process import Gateway


@dataclass(frozen=True)
class Step:
    """An attempt with its delivery and event, in the order in which they were made."""

    source: str
    event_type: str
    lane: str
    status: str
    attempt_count: int
    verdict: str
    trace: str


def steps(gateway: Gateway, foreign_id: str) -> list[Step]:
    """Return every attempt of the chain that began with the event of this sender's id."""
    rows = gateway.query(
        "SELECT e.source, d.event_type, l.label, d.status, d.attempt_count, a.verdict, e.trace "
        "FROM deliveries_attempt a "
        "JOIN deliveries_delivery d ON d.id = a.delivery_id "
        "JOIN deliveries_lane l ON l.id = d.lane_id "
        "JOIN deliveries_event e ON e.id = d.event_id "
        "WHERE e.trace IN (SELECT trace FROM deliveries_event WHERE dedupe_key = ?) "
        "ORDER BY d.id, a.number",
        (foreign_id,),
    )
    return [
        Step(source, event_type, lane, status, count, verdict, text_of(trace))
        for source, event_type, lane, status, count, verdict, trace in rows
    ]


def bodies(gateway: Gateway, foreign_id: str) -> dict[str, bytes]:
    """Return the stored bodies, by event id, of the events with this sender's id."""
    rows = gateway.query(
        "SELECT e.id, p.body FROM deliveries_event e JOIN deliveries_payload p ON p.id = e.id "
        "WHERE e.dedupe_key = ?",
        (foreign_id,),
    )
    return {text_of(pk): bytes(body) for pk, body in rows}


def by_lane(gateway: Gateway, lane: str) -> dict[str, str]:
    """Return the status of every delivery of a lane by id, oldest first."""
    rows = gateway.query(
        "SELECT d.id, d.status FROM deliveries_delivery d "
        "JOIN deliveries_lane l ON l.id = d.lane_id WHERE l.label = ? ORDER BY d.id",
        (lane,),
    )
    return {text_of(pk): status for pk, status in rows}


def attempts(gateway: Gateway, lane: str) -> list[tuple[int, str, str]]:
    """Return number, verdict and error class of every attempt of a lane."""
    return gateway.query(
        "SELECT a.number, a.verdict, a.error_class FROM deliveries_attempt a "
        "JOIN deliveries_delivery d ON d.id = a.delivery_id "
        "JOIN deliveries_lane l ON l.id = d.lane_id WHERE l.label = ? ORDER BY d.id, a.number",
        (lane,),
    )


def claimed(gateway: Gateway) -> set[str]:
    """Return the deliveries that somebody is sending, or was when it was killed."""
    rows = gateway.query("SELECT id FROM deliveries_delivery WHERE claim IS NOT NULL")
    return {text_of(pk) for (pk,) in rows}


def incomplete(gateway: Gateway) -> int:
    """Return how many events lack their payload, their delivery or the payload of that."""
    [(count,)] = gateway.query(
        "SELECT count(*) FROM deliveries_event e "
        "LEFT JOIN deliveries_payload p ON p.id = e.id "
        "LEFT JOIN deliveries_delivery d ON d.event_id = e.id "
        "LEFT JOIN deliveries_payload q ON q.id = d.id "
        "WHERE p.id IS NULL OR d.id IS NULL OR q.id IS NULL"
    )
    return int(count)


def foreign_ids(gateway: Gateway) -> list[str]:
    """Return the senders' own ids of all events, as often as they are there."""
    return [key for (key,) in gateway.query("SELECT dedupe_key FROM deliveries_event")]


def repeated(ids: Iterable[str]) -> set[str]:
    """Return what comes more than once."""
    return {one for one, count in Counter(ids).items() if count > 1}


def text_of(pk: Any) -> str:
    """Return an id as it is written on the wire; SQLite keeps it without its hyphens."""
    return str(UUID(str(pk)))
