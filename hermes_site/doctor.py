"""The doctor: looks at everything a gateway needs, and says of each thing how it is.

One list of findings, for ``manage.py doctor`` and for the admin's *System* page. An examination
that stumbles is a finding as well: the others are made all the same.
"""

from collections.abc import Callable
from datetime import timedelta

from django.conf import settings
from django.core import checks
from django.core.management.base import CommandError
from django.db import connection
from django.db.models import Exists, OuterRef
from django.db.utils import Error as DatabaseError
from django.utils import timezone
from django.utils.formats import number_format
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from agents.models import Agent
from deliveries.models import Delivery, Runner
from deliveries.selectors import SILENT, runner_age
from deliveries.transactions import write_transaction
from platforms.models import Channel
from routes.config_files import effective_settings, home_problems
from vault.canary import check_keys

from . import surroundings
from .alerts import channel_now
from .findings import Finding, Level, Lines
from .gateway import preflight
from .models import AlertSettings, Tally
from .troubles import clock

# A clock may be off by this before anybody notices, and by that before signatures are refused.
NOTICED = timedelta(seconds=2)
REFUSED = timedelta(seconds=60)
# A write that takes longer holds up whoever waits for its answer.
SLOW_WRITE_MS = 250
# So many rows of a kind are named.
NAMED = 5


Examination = Callable[[], Lines]


def examine(*, clock: bool = False) -> list[Finding]:
    """Return a finding or more from every examination; ``clock`` asks PUBLIC_URL for the time."""
    findings: list[Finding] = []
    for area, examination in EXAMINATIONS:
        findings += _made(str(area), examination)
    findings += _made(_("public address"), lambda: surroundings.public_address(clock=clock))
    return findings


def worst(findings: list[Finding]) -> Level:
    """Return the worst level among them."""
    order = list(Level)
    return max((one.level for one in findings), key=order.index, default=Level.OK)


def _made(area: str, examination: Examination) -> list[Finding]:
    try:
        return [Finding(area, level, said, way_out) for level, said, way_out in examination()]
    except DatabaseError:
        # Said once, by the examination of the database.
        return [Finding(area, Level.FAIL, _("It can't be told without the database."))]
    except Exception as error:
        # Whatever it is, a person has asked how things are; its text may hold a secret.
        said = _("The examination stumbled: %s.") % type(error).__name__
        return [Finding(area, Level.FAIL, said, _("This is a fault of Hermes; please report it."))]


def configuration() -> Lines:
    """Run the system checks, those that read the database included."""
    levels = {checks.WARNING: Level.WARN, checks.ERROR: Level.FAIL, checks.CRITICAL: Level.FAIL}
    found = checks.run_checks(databases=["default"])
    # The vault has a line of its own.
    shown = [one for one in found if one.level >= checks.WARNING and one.id != "vault.E001"]
    for one in shown:
        level = levels.get(one.level, Level.WARN)
        yield level, f"{one.msg} ({one.id})", str(one.hint or "")
    if not shown:
        yield Level.OK, _("The settings and routes are in order."), ""


def database() -> Lines:
    """Connect, compare the migrations, look at what makes it durable, and write."""
    try:
        preflight.check_database(migrate=False)
    except CommandError as error:
        said, _dot, way_out = str(error).partition(". ")
        yield Level.FAIL, f"{said}.", way_out
        return
    yield Level.OK, _("%s answers and is up to date.") % _database_name(), ""
    yield from _durable()
    began = timezone.now()
    with write_transaction():
        Tally.objects.create(name="doctor", labels="[]").delete()
    took = round((timezone.now() - began).total_seconds() * 1000)
    level = Level.OK if took < SLOW_WRITE_MS else Level.WARN
    slow = _("Look at the disk, and at what else writes to this database.")
    yield level, _("A write took %d ms.") % took, "" if level is Level.OK else slow


def _database_name() -> str:
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute("SELECT sqlite_version()")
            return f"SQLite {cursor.fetchone()[0]}"
        cursor.execute("SHOW server_version")
        return f"PostgreSQL {cursor.fetchone()[0].split()[0]}"


def _durable() -> Lines:
    """Look at the settings without which an answer is given before the disk has the row."""
    wanted = (
        {"journal_mode": ("wal",), "synchronous": ("2", "3")}
        if connection.vendor == "sqlite"
        else {"synchronous_commit": ("on", "remote_apply", "remote_write"), "fsync": ("on",)}
    )
    for name, good in wanted.items():
        with connection.cursor() as cursor:
            cursor.execute(f"{'PRAGMA' if connection.vendor == 'sqlite' else 'SHOW'} {name}")
            value = str(cursor.fetchone()[0])
        if value not in good:
            yield (
                Level.WARN,
                _("%(name)s is %(value)s: a power cut may lose what was answered.")
                % {"name": name, "value": value},
                _("Set it to %s at the database.") % good[0],
            )


def vault_key() -> Lines:
    """Open what was stored under the vault's key."""
    errors = check_keys(None, ["default"])
    for error in errors:
        yield Level.FAIL, str(error.msg), str(error.hint or "")
    if not errors:
        yield Level.OK, _("The vault key opens what is stored."), ""


def worker() -> Lines:
    """Look for the heartbeats of the lane runners."""
    age = runner_age()
    if age is None or age > SILENT:
        said = _("No lane runner is alive: nothing is sent.")
        if age is not None:
            words = {"seconds": number_format(age.total_seconds(), 0)}
            said = _("A lane runner has not been heard for %(seconds)s s.") % words
        yield Level.FAIL, said, _("Start `manage.py gateway`; if it runs, its log says why.")
        return
    words = {"seconds": number_format(max(0.0, age.total_seconds()), 1)}
    yield Level.OK, _("The lane runners are alive; last heard %(seconds)s s ago.") % words, ""


def database_clock() -> Lines:
    """Compare our clock with the database's, and with what the runners have written."""
    now = timezone.now()
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT clock_timestamp()")
            yield surroundings.compared(_("the database"), cursor.fetchone()[0], NOTICED, REFUSED)
    else:
        yield Level.OK, _("It is %s; the database is on this machine.") % clock(now), ""
    ahead = Runner.objects.filter(beat_at__gt=now + NOTICED).order_by("-beat_at").first()
    if ahead is not None:
        yield (
            Level.WARN,
            _("A runner's heartbeat lies in the future, at %s.") % clock(ahead.beat_at),
            _("The clock was set back, or the machines' clocks differ: let them follow NTP."),
        )


def home() -> Lines:
    """Name what of the Hermes home is left out."""
    problems = home_problems()
    for problem in problems:
        yield Level.WARN, str(problem), _("Mend the file; it is read again at once.")
    if not problems:
        yield Level.OK, _("Nothing in the Hermes home is left out."), ""


def agents() -> Lines:
    """Name the agents that get nothing although something waits for them."""
    lost = Agent.objects.filter(
        connection_status=Agent.Status.UNREACHABLE, suspended_at=None
    ).order_by("status_changed_at")
    for name, since in lost.values_list("name", "status_changed_at")[:NAMED]:
        yield (
            Level.WARN,
            _("%(name)s is unreachable since %(time)s.") % {"name": name, "time": clock(since)},
            _("Mend the agent, then Recover on its page."),
        )
    pending = Delivery.objects.filter(pending_lane=OuterRef("lane_id"))
    offline = Agent.objects.filter(Exists(pending), connection_status=Agent.Status.OFFLINE)
    for name in offline.order_by("name").values_list("name", flat=True)[:NAMED]:
        yield (
            Level.WARN,
            _("%s is offline, and deliveries wait for it.") % name,
            _("Start the agent; it has to connect, or to fetch."),
        )
    if not lost.exists() and not offline.exists():
        yield Level.OK, _("Nothing waits for an agent that is away."), ""


def channels() -> Lines:
    """Name the channels that need attention."""
    ailing = Channel.objects.filter(enabled=True, health=Channel.Health.NEEDS_ATTENTION)
    rows = ailing.order_by("name").values_list("name", "health_reason")[:NAMED]
    for name, reason in rows:
        yield (
            Level.WARN,
            _("%(name)s needs attention: %(reason)s") % {"name": name, "reason": reason[:200]},
            _("Mend it on its page, then Test connection there."),
        )
    if not rows:
        yield Level.OK, _("No channel needs attention."), ""


def alerts() -> Lines:
    """Say whether anybody would be told."""
    limits = AlertSettings.current()
    if limits.channel_id is None:
        yield Level.OK, _("Nobody is told of incidents: no channel is chosen for alerts."), ""
    elif (channel := channel_now(limits)) is None:
        yield (
            Level.WARN,
            _("The channel of the alerts is off or needs attention: nobody is told."),
            _("Mend it, or choose another one under Alert settings."),
        )
    else:
        yield Level.OK, _("Incidents are told on %s.") % channel.name, ""


def web() -> Lines:
    """Ask our own port, over loopback."""
    return surroundings.answers_at_home(settings.WEBHOOK_HOST, effective_settings().port)


def static_files() -> Lines:
    """Look for the admin's style sheets."""
    try:
        preflight.check_static_files()
    except CommandError as error:
        said, _dot, way_out = str(error).partition(". ")
        yield Level.FAIL, f"{said}.", way_out
    else:
        yield Level.OK, _("The static files are collected."), ""


EXAMINATIONS: tuple[tuple[str | Promise, Examination], ...] = (
    (gettext_lazy("configuration"), configuration),
    (gettext_lazy("settings file"), surroundings.settings_file),
    (gettext_lazy("secrets"), surroundings.secrets),
    (gettext_lazy("database"), database),
    (gettext_lazy("vault key"), vault_key),
    (gettext_lazy("worker"), worker),
    (gettext_lazy("web"), web),
    (gettext_lazy("static files"), static_files),
    (gettext_lazy("clock"), database_clock),
    (gettext_lazy("disk"), surroundings.disk),
    (gettext_lazy("Hermes home"), home),
    (gettext_lazy("agents"), agents),
    (gettext_lazy("channels"), channels),
    (gettext_lazy("alerts"), alerts),
)
