"""The sample for a shell signs as the gateway verifies: it is run, with curl replaced."""

import json
import shutil
import subprocess
import time

import pytest

from routes.curl import sample
from routes.models import Route
from routes.presets import AUTO, CUSTOM, Preset, detect, presets
from routes.presets.custom import custom_preset
from routes.signatures import Verifier
from routes.signatures.verdicts import Verified

pytestmark = pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not installed")

SECRET = "a secret with 'quotes' and $signs"
# Signed in the body or the URL, with a key that only the sender has, or over an encrypted body.
BY_COMMAND = {
    "dingtalk", "discord", "feishu", "feishu_token", "hubspot", "jira_app", "linear", "mailgun",
    "microsoft_graph", "sendgrid", "twilio", "wecom", "zendesk",
}  # fmt: skip
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


def secret_of(preset: Preset) -> str:
    """Return a secret that a source could have issued."""
    if not preset.base64_secret_prefix:
        return SECRET
    return preset.base64_secret_prefix + "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="


@pytest.mark.parametrize("name", [name for name in presets() if name not in BY_COMMAND])
def test_the_sample_of_every_source_is_verified(name: str) -> None:
    preset = presets()[name]
    headers, body = run(Route(name="github-pr", preset=name), secret_of(preset))
    verifier = Verifier(preset, (secret_of(preset),))
    assert isinstance(verifier.verify(headers, body, time.time()), Verified)
    if preset.protects_body:
        altered = verifier.verify(headers, body + b" ", time.time())
        assert not isinstance(altered, Verified)


@pytest.mark.parametrize("name", sorted(BY_COMMAND))
def test_what_a_shell_can_not_sign_is_left_to_the_command(name: str) -> None:
    text = sample(Route(name="github-pr", preset=name))
    assert text == "python manage.py webhook test github-pr"


def test_a_route_that_recognises_its_sender_is_shown_one_that_it_recognises() -> None:
    headers, body = run(Route(name="x", preset=AUTO), SECRET)
    found = detect(headers)
    assert found is not None
    assert isinstance(Verifier(found, (SECRET,)).verify(headers, body, time.time()), Verified)


def test_a_scheme_of_ones_own_is_signed_as_described() -> None:
    scheme = {
        "header": "x-acme-signature",
        "prefix": "v0=",
        "encoding": "base64",
        "signed": "{timestamp}:{body}",
        "timestamp": {"header": "x-acme-time"},
        "event": {"header": "x-acme-event"},
    }
    headers, body = run(Route(name="x", preset=CUSTOM, custom_scheme=scheme), SECRET)
    verifier = Verifier(custom_preset(scheme), (SECRET,))
    assert isinstance(verifier.verify(headers, body, time.time()), Verified)


def test_the_sample_is_an_event_of_the_source() -> None:
    _headers, body = run(Route(name="x", preset="github", events=["pull_request"]), SECRET)
    assert "pull_request" in json.loads(body)


def test_the_sample_names_an_event_the_route_accepts() -> None:
    headers, _body = run(Route(name="x", preset="github", events=["pull_request"]), SECRET)
    assert headers["x-github-event"] == "pull_request"
    headers, _body = run(Route(name="x", preset="gitlab", events=["merge_request"]), SECRET)
    assert headers["x-gitlab-event"] == "Merge Request Hook"


def test_an_unsigned_route_gets_an_unsigned_sample() -> None:
    text = sample(Route(name="x", preset="github", insecure_no_auth=True))
    assert "SECRET" not in text
