"""``/metrics`` for Prometheus: what stands in the database, from whichever process is asked.

Gauges are read when asked for, each by an index and never past a bound; counters come from
`hermes_site.counting`. An answer is kept for some seconds, so that several scrapers cost one.
"""

import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from hmac import compare_digest
from ipaddress import ip_address

from django.conf import settings
from django.db.models import Count
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.http import require_safe
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import Metric

from agents.models import Agent
from deliveries.claims import next_due
from deliveries.models import Delivery, Lane, Runner
from deliveries.selectors import SILENT, runner_age
from platforms.models import Channel

from . import counting
from .models import Incident, Trouble

KEEP_SECONDS = 5.0
# Pending deliveries are counted up to here, lane by lane beyond it: 20 ms.
COUNTED = 100_000
# With that much waiting, so many of each lane are counted.
COUNTED_OF_A_LANE = 10_000
LANES = 50

# What a proxy adds. Whoever comes through one is not this machine, though the proxy may be.
FORWARDED = ("HTTP_FORWARDED", "HTTP_VIA", "HTTP_X_REAL_IP")
FORWARDED_PREFIX = "HTTP_X_FORWARDED_"

Labelled = Mapping[tuple[str, ...], float]


@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """Answer with the metrics as text: 401 without the token, 403 from afar where none is set."""
    refused = _refusal(request)
    if refused is not None:
        return refused
    return HttpResponse(text(), content_type=CONTENT_TYPE_LATEST)


def _refusal(request: HttpRequest) -> HttpResponse | None:
    token = settings.METRICS_TOKEN
    if token:
        given = request.headers.get("Authorization", "").encode("utf-8", "surrogateescape")
        if compare_digest(given, f"Bearer {token}".encode()):
            return None
        return HttpResponse(
            "Send the token of METRICS_TOKEN: “Authorization: Bearer …”.\n",
            status=401,
            headers={"WWW-Authenticate": "Bearer"},
            content_type="text/plain; charset=utf-8",
        )
    if _is_local(request):
        return None
    return HttpResponse(
        "Metrics are for this machine alone until METRICS_TOKEN is set.\n",
        status=403,
        content_type="text/plain; charset=utf-8",
    )


def _is_local(request: HttpRequest) -> bool:
    names = request.META
    if any(name in names for name in FORWARDED) or any(
        name.startswith(FORWARDED_PREFIX) for name in names
    ):
        return False
    try:
        return ip_address(names.get("REMOTE_ADDR", "")).is_loopback
    except ValueError:
        return False


_lock = threading.Lock()
_kept: tuple[float, bytes] = (-KEEP_SECONDS, b"")


def text() -> bytes:
    """Return the metrics in Prometheus' text format, at most `KEEP_SECONDS` old."""
    global _kept
    with _lock:
        if time.monotonic() - _kept[0] >= KEEP_SECONDS:
            now = timezone.now()
            counting.count(now)
            registry = CollectorRegistry()
            registry.register(Ledger(now))
            _kept = (time.monotonic(), generate_latest(registry))
        return _kept[1]


class Ledger:
    """Collects for prometheus_client what the database knows at a moment."""

    def __init__(self, now: datetime) -> None:
        self._now = now

    def describe(self) -> Iterable[Metric]:
        """Return nothing: to register it, nothing need be asked."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Return every metric."""
        yield from _queue(self._now)
        yield from _worker()
        yield from _people()
        yield from _counters(counting.tallies())


def _queue(now: datetime) -> Iterator[Metric]:
    depth = GaugeMetricFamily(
        "hermes_deliveries_pending",
        "Deliveries that wait, by the kind of destination and the state of its lane.",
        labels=("kind", "state"),
    )
    for labels, number in waiting().items():
        depth.add_metric(labels, number)
    yield depth
    due = next_due()
    yield GaugeMetricFamily(
        "hermes_oldest_due_seconds",
        "For how long the delivery that has been due the longest has been due.",
        value=0.0 if due is None else max(0.0, (now - due).total_seconds()),
    )


def waiting() -> Labelled:
    """Return how many deliveries wait, by kind of destination and state of the lane.

    A backlog beyond `COUNTED` is counted up to `COUNTED_OF_A_LANE` on each of `LANES` lanes:
    that it is large is all that matters then.
    """
    pending = Delivery.objects.filter(pending_lane__isnull=False).order_by()
    lanes = {
        pk: (kind, state) for pk, kind, state in Lane.objects.values_list("pk", "kind", "state")
    }
    counts: dict[tuple[str, ...], float] = {}
    if pending[: COUNTED + 1].count() <= COUNTED:
        rows: Iterable[tuple[int, int]] = pending.values_list("pending_lane").annotate(
            count=Count("pk")
        )
    else:
        rows = (
            (pk, pending.filter(pending_lane=pk)[:COUNTED_OF_A_LANE].count())
            for pk in list(lanes)[:LANES]
        )
    for lane, number in rows:
        if number and lane in lanes:
            counts[lanes[lane]] = counts.get(lanes[lane], 0) + number
    return counts


def _worker() -> Iterator[Metric]:
    age = runner_age()
    yield GaugeMetricFamily(
        "hermes_worker_up",
        "Whether every lane runner is alive.",
        value=float(age is not None and age < SILENT),
    )
    if age is not None:
        yield GaugeMetricFamily(
            "hermes_worker_heartbeat_seconds",
            "The age of the heartbeat of the most silent lane runner.",
            value=max(0.0, age.total_seconds()),
        )
    yield GaugeMetricFamily("hermes_runners", "Lane runners.", value=Runner.objects.count())


def _people() -> Iterator[Metric]:
    agents = GaugeMetricFamily("hermes_agents", "Agents, by status.", labels=("status",))
    numbers = dict(
        Agent.objects.order_by().values_list("connection_status").annotate(count=Count("pk"))
    )
    for status in Agent.Status.values:
        agents.add_metric((status,), numbers.get(status, 0))
    yield agents
    ailing = Channel.objects.filter(enabled=True, health=Channel.Health.NEEDS_ATTENTION)
    yield GaugeMetricFamily(
        "hermes_channels_needing_attention",
        "Channels with a wrong credential or configuration.",
        value=ailing.count(),
    )
    incidents = GaugeMetricFamily(
        "hermes_incidents_open", "Incidents that are not over, by kind.", labels=("kind",)
    )
    open_now = Incident.objects.filter(closed_at=None).order_by().values_list("kind")
    numbers = dict(open_now.annotate(count=Count("pk")))
    for kind in Trouble.values:
        incidents.add_metric((kind,), numbers.get(kind, 0))
    yield incidents


def _counters(tallies: Mapping[str, Labelled]) -> Iterator[Metric]:
    attempts = tallies.get(counting.ATTEMPTS, {})
    refusals = tallies.get(counting.REFUSALS, {})
    yield _counter(
        "hermes_attempts_total",
        "Attempts that are over, by kind of destination, verdict and error class.",
        ("kind", "verdict", "error_class"),
        attempts,
    )
    stolen: dict[tuple[str, ...], float] = {("agent",): 0, ("channel",): 0}
    for (kind, _verdict, error_class), number in attempts.items():
        if error_class == "interrupted":
            stolen[(kind,)] = stolen.get((kind,), 0) + number
    yield _counter(
        "hermes_lease_steals_total",
        "Attempts whose sender was gone before an outcome was recorded; they were made again.",
        ("kind",),
        stolen,
    )
    yield _histogram(
        "hermes_attempt_duration_seconds",
        "How long attempts took.",
        counting.DURATIONS,
        tallies.get(counting.DURATION, {}),
        tallies.get(counting.DURATION_SUM, {}),
    )
    yield _histogram(
        "hermes_first_attempt_wait_seconds",
        "From when a delivery was accepted until its first attempt.",
        counting.WAITS,
        tallies.get(counting.WAIT, {}),
        tallies.get(counting.WAIT_SUM, {}),
    )
    yield _counter("hermes_events_total", "Events.", (), tallies.get(counting.EVENTS, {(): 0}))
    yield _counter(
        "hermes_refusals_total",
        "Requests that were turned away and kept, by status and reason.",
        ("status", "reason"),
        refusals,
    )
    yield _counter(
        "hermes_rate_limited_total",
        "Requests that were turned away with 429.",
        (),
        {(): sum(number for (status, _reason), number in refusals.items() if status == "429")},
    )


def _counter(name: str, says: str, labels: tuple[str, ...], values: Labelled) -> Metric:
    family = CounterMetricFamily(name, says, labels=labels)
    for of, number in sorted(values.items()):
        family.add_metric(of, number)
    return family


def _histogram(
    name: str, says: str, bounds: tuple[float, ...], buckets: Labelled, sums: Labelled
) -> Metric:
    family = HistogramMetricFamily(name, says, labels=("kind",))
    for kind in sorted({kind for kind, _bucket in buckets}):
        below, cumulated = 0.0, []
        for number, bound in enumerate((*map(str, bounds), "+Inf")):
            below += buckets.get((kind, str(number)), 0)
            cumulated.append((bound, below))
        family.add_metric((kind,), cumulated, sums.get((kind,), 0.0))
    return family
