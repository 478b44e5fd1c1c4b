"""The sample for a shell signs as the gateway verifies: it is run, with curl replaced."""

import shutil
import subprocess
import time

import pytest

from routes.curl import sample
from routes.models import Route
from routes.presets import AUTO, Scheme, detect, presets
from routes.signatures import Verifier
from routes.signatures.verdicts import Verified

pytestmark = pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not installed")

SECRET = "a secret with 'quotes' and $signs"
# Prints what curl was given, an argument a line, in place of sending it.
FAKE_CURL = 'curl() { for word in "$@"; do printf \'%s\\n\' "$word"; done; }\n'


def run(route: Route, secret: str) -> tuple[dict[str, str], bytes]:
    """Return the headers and the body that the sample would send."""
    quoted = "'" + secret.replace("'", "'\\''") + "'"
    script = sample(route).replace("'the secret of this route'", quoted)
    done = subprocess.run(
        ["sh", "-c", FAKE_CURL + script], capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    words = done.stdout.splitlines()
    headers = [words[at + 1] for at, word in enumerate(words) if word == "-H"]
    parted = (header.split(": ", 1) for header in headers)
    body = words[words.index("-d") + 1]
    return {name.lower(): value for name, value in parted}, body.encode()


@pytest.mark.parametrize("name", [AUTO, *presets()])
def test_the_sample_of_every_source_is_verified(name: str) -> None:
    preset = presets().get(name)
    secret = SECRET
    if preset is not None and preset.base64_secret_prefix:
        secret = preset.base64_secret_prefix + "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
    headers, body = run(Route(name="github-pr", preset=name, events=["push"]), secret)
    found = detect(headers)
    assert found is not None
    if preset is not None:
        assert found.name == preset.name
    verifier = Verifier(found, (secret,))
    assert isinstance(verifier.verify(headers, body, time.time()), Verified)
    if found.scheme is not Scheme.TOKEN:
        altered = verifier.verify(headers, body + b" ", time.time())
        assert not isinstance(altered, Verified)


def test_the_sample_names_an_event_the_route_accepts() -> None:
    headers, _body = run(Route(name="x", preset="github", events=["pull_request"]), SECRET)
    assert headers["x-github-event"] == "pull_request"
    headers, _body = run(Route(name="x", preset="gitlab", events=["merge_request"]), SECRET)
    assert headers["x-gitlab-event"] == "Merge Request Hook"


def test_an_unsigned_route_gets_an_unsigned_sample() -> None:
    text = sample(Route(name="x", preset="github", insecure_no_auth=True))
    assert "SECRET" not in text
