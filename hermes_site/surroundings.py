"""What lies around the gateway, examined: files, secrets, disk, its port, its public address."""

import difflib
import http.client
import json
import os
import re
import shutil
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from django.conf import settings
from django.utils import timezone
from django.utils.formats import number_format
from django.utils.translation import gettext as _

from deliveries import outbound
from routes.config_files import effective_settings

from .findings import Level, Line, Lines

# Less than this on the disk is worth a word, and with less than that nothing can be stored.
LITTLE = 2 * 1024**3
NOTHING = 200 * 1024**2
# An HMAC secret that is shorter can be guessed.
SHORT_SECRET = 16
# One's own port answers at once, or not at all.
OWN_SECONDS = 3.0
PUBLIC_SECONDS = 5.0
# A Date is whole seconds, and the way there and back takes a moment.
PUBLIC_NOTICED = timedelta(seconds=5)
PUBLIC_REFUSED = timedelta(seconds=60)
# How like a setting's name another one must be, to be taken for a slip.
LIKENESS = 0.85
NAME = re.compile(r"^\s*(?:export\s+)?([A-Z][A-Z0-9_]*)\s*=", re.MULTILINE)


def settings_file() -> Lines:
    """Look at who can read .env, and for names that are nearly settings."""
    path = Path(os.environ.get("HERMES_ENV_FILE") or settings.BASE_DIR / ".env")
    try:
        text, mode = path.read_text(), path.stat().st_mode
    except FileNotFoundError:
        yield Level.OK, _("There is no %s; the environment says it all.") % path, ""
        return
    except (OSError, UnicodeDecodeError) as error:
        words = {"path": path, "error": type(error).__name__}
        yield (
            Level.FAIL,
            _("%(path)s can't be read: %(error)s.") % words,
            _("Give the file to the user Hermes runs as."),
        )
        return
    well = True
    if mode & 0o077 and path.is_file():
        well = False
        yield (
            Level.WARN,
            _("Others on this machine can read %s.") % path,
            _("Run: chmod 600 %s") % path,
        )
    known = set(re.findall(r"^#?([A-Z][A-Z0-9_]*)=", _example(), re.MULTILINE))
    for name in NAME.findall(text):
        bare = name.removesuffix("_FILE")
        if name in known or bare in known:
            continue
        if alike := difflib.get_close_matches(bare, known, 1, LIKENESS):
            well = False
            words = {"name": name, "path": path}
            yield (
                Level.WARN,
                _("%(name)s in %(path)s is no setting.") % words,
                _("Perhaps %s is meant.") % alike[0],
            )
    if well:
        yield Level.OK, _("%s is in order.") % path, ""


def _example() -> str:
    path = Path(settings.BASE_DIR) / ".env.example"
    return path.read_text() if path.is_file() else ""


def secrets() -> Lines:
    """Look for secrets that can be guessed, and for pages that tell too much."""
    well = True
    secret = effective_settings().secret
    if secret and len(secret) < SHORT_SECRET:
        well = False
        yield (
            Level.WARN,
            _("WEBHOOK_SECRET has fewer than %d characters.") % SHORT_SECRET,
            _("Take a long random one, and enter it at the senders: openssl rand -hex 32"),
        )
    if settings.DEBUG:
        well = False
        yield (
            Level.WARN,
            _("DEBUG is on: an error shows code and settings to whoever meets it."),
            _("Set DEBUG=false."),
        )
    if urlsplit(settings.PUBLIC_URL).scheme == "https" and not settings.HTTPS_ONLY:
        well = False
        yield (
            Level.WARN,
            _("PUBLIC_URL is https, but cookies would be sent without it as well."),
            _("Set HTTPS_ONLY=true; the proxy has to send X-Forwarded-Proto."),
        )
    if well:
        yield Level.OK, _("Nothing stands open."), ""


def disk() -> Lines:
    """Look at the room where the database, or whatever else we write, is."""
    folder = Path(settings.HERMES_DATA_DIR)
    try:
        free = shutil.disk_usage(folder).free
    except OSError as error:
        yield Level.FAIL, f"{folder}: {error.strerror}.", _("Run `manage.py setup`.")
        return
    words = {"size": number_format(free / 1024**3, 1), "path": folder}
    said = _("%(size)s GB are free at %(path)s.") % words
    way_out = _("Make room, or keep less: LEDGER_DAYS.")
    if not os.access(folder, os.W_OK):
        yield (
            Level.FAIL,
            _("%s can't be written.") % folder,
            _("Give it to the user Hermes runs as."),
        )
    elif free < NOTHING:
        yield Level.FAIL, said, way_out
    elif free < LITTLE:
        yield Level.WARN, said, way_out
    else:
        yield Level.OK, said, ""


def answers_at_home(host: str, port: int) -> Lines:
    """Ask for /health where the gateway listens, as this machine reaches it."""
    near = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)  # noqa: S104
    start = _("Start `manage.py gateway`; if it runs, its log says why.")
    connection = http.client.HTTPConnection(near, port, timeout=OWN_SECONDS)
    try:
        connection.request("GET", "/health")
        answer = connection.getresponse()
        body = answer.read(1024)
    except (OSError, http.client.HTTPException) as error:
        words = {"host": near, "port": port, "error": type(error).__name__}
        yield Level.FAIL, _("Nothing answers on %(host)s:%(port)s (%(error)s).") % words, start
        return
    finally:
        connection.close()
    where = {"host": near, "port": port}
    if answer.status == 200 and _is_hermes(body):
        yield Level.OK, _("The gateway answers on %(host)s:%(port)s.") % where, ""
    else:
        yield (
            Level.FAIL,
            _("Something else than Hermes answers on %(host)s:%(port)s.") % where,
            _("Stop it, or set WEBHOOK_PORT to a free port."),
        )


def public_address(*, clock: bool) -> Lines:
    """Ask for /health at PUBLIC_URL, from here; ``clock`` compares the time of the answer.

    That it answers here does not prove that it does elsewhere; that it does not says enough.
    """
    url = settings.PUBLIC_URL
    if _is_loopback(urlsplit(url).hostname or ""):
        yield (
            Level.WARN,
            _("PUBLIC_URL is %s: only this machine reaches that.") % url,
            _("Set it to the address that senders and people use."),
        )
    try:
        reply = outbound.request(
            "GET",
            f"{url}/health",
            headers={},
            body=None,
            policy=outbound.Policy.LAN,  # an operator wrote it
            timeout=PUBLIC_SECONDS,
            max_response=1024,
        )
    except outbound.OutboundError as error:
        words = {"url": url, "error": error}
        yield (
            Level.FAIL,
            _("%(url)s does not answer: %(error)s") % words,
            _("Look at PUBLIC_URL, DNS, the proxy and the firewall."),
        )
        return
    if reply.status != 200 or not _is_hermes(reply.body):
        words = {"url": url, "status": reply.status}
        yield (
            Level.FAIL,
            _("%(url)s/health is not answered by Hermes (status %(status)d).") % words,
            _("Let the proxy pass on every path to the gateway; see docs/deploy.md."),
        )
        return
    yield Level.OK, _("%s answers, as seen from here.") % url, ""
    if clock:
        yield _by_date(url, reply.headers.get("Date", ""))


def _by_date(url: str, date: str) -> Line:
    try:
        theirs = parsedate_to_datetime(date)
    except ValueError:
        return Level.WARN, _("%s does not tell the time.") % url, _("A proxy in front of it would.")
    return compared(url, theirs, PUBLIC_NOTICED, PUBLIC_REFUSED)


def compared(whose: str, theirs: datetime, noticed: timedelta, refused: timedelta) -> Line:
    """Return how our clock stands to another one."""
    off = timezone.now() - theirs
    words = {"whose": whose, "seconds": number_format(abs(off.total_seconds()), 1)}
    said = _("Our clock and that of %(whose)s differ by %(seconds)s s.") % words
    if abs(off) < noticed:
        return Level.OK, said, ""
    level = Level.WARN if abs(off) < refused else Level.FAIL
    return level, said, _("Let both follow NTP: signatures with a time in them are refused else.")


def _is_hermes(body: bytes) -> bool:
    try:
        said = json.loads(body)
    except ValueError:
        return False
    return isinstance(said, dict) and said.get("platform") == "webhook"


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
