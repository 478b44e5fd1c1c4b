"""The GitHub login of this machine: its environment, else the gh command's."""

import os
import shutil
import subprocess
import time
from urllib.parse import urlsplit

# In the order in which gh itself looks.
VARIABLES = ("GH_TOKEN", "GITHUB_TOKEN")
ENTERPRISE_VARIABLES = ("GH_ENTERPRISE_TOKEN", "GITHUB_ENTERPRISE_TOKEN")
GH_SECONDS = 5.0
KEPT_SECONDS, MISSED_SECONDS = 300.0, 10.0

_logins: dict[str, tuple[float, str]] = {}  # host: (good until, token)


def token(host: str = "") -> str:
    """Return a token for a GitHub Enterprise host, or github.com; empty if there is no login.

    The environment's is for github.com: whoever may write an address into a channel must not
    be able to have it sent there.
    """
    if not host:
        for name in VARIABLES:
            if value := os.environ.get(name, "").strip():
                return value
    return _gh_login(host or "github.com")


def forget() -> None:
    """Ask gh again next time: the token was refused, or the login has changed."""
    _logins.clear()


def host_of(api_base: str) -> str:
    """Return the host of an API address; empty for github.com's own."""
    host = urlsplit(api_base).hostname or ""
    return "" if host in ("api.github.com", "github.com") else host


def _gh_login(host: str) -> str:
    good_until, found = _logins.get(host, (0.0, ""))
    if time.monotonic() >= good_until:
        found = _asked(host)
        kept = KEPT_SECONDS if found else MISSED_SECONDS
        _logins[host] = (time.monotonic() + kept, found)
    return found


def _asked(host: str) -> str:
    gh = shutil.which("gh")
    if gh is None:
        return ""
    names = (*VARIABLES, *ENTERPRISE_VARIABLES)
    environment = {name: value for name, value in os.environ.items() if name not in names}
    try:
        answer = subprocess.run(  # noqa: S603  an argument list; the host was parsed from a URL
            [gh, "auth", "token", "--hostname", host],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=GH_SECONDS,
            check=False,
        )
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return ""
    return answer.stdout.strip() if answer.returncode == 0 else ""
