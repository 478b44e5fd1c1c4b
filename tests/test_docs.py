"""README and docs/ say what is there: links, names, commands, addresses, samples."""

import importlib
import re
import runpy
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import requests
from django.conf import settings
from django.contrib.auth.models import Permission
from django.core.management import get_commands
from django.urls import URLPattern, URLResolver, get_resolver
from pytest_django.live_server_helper import LiveServer

from agents import wire
from agents.models import Agent
from agents.services import issue_token, mark_unreachable
from deliveries.outbound import OutboundError
from routes.remedies import REMEDIES
from tests.agents.conftest import SECRET, deliver, make_agent, make_message

ROOT = Path(settings.BASE_DIR)
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted(DOCS.rglob("*.md"))]
IMAGES = sorted((DOCS / "images").iterdir())
LARGEST_IMAGE = 200_000  # bytes
# Spelled like a name of ours: places in config.yaml, a file.
NOT_NAMES = {"platforms.webhook", "platforms.webhook.extra", "vault.key"}

ROOMS = "agent_sdk|agents|bench|deliveries|hermes_site|platforms|routes|tests|vault"
CODE = re.compile(r"^```.*?^```|^ {4}.*?$|`[^`\n]+`", re.MULTILINE | re.DOTALL)


def everything() -> str:
    return "\n".join(page.read_text() for page in PAGES)


def code() -> str:
    """Return what is code on the pages: in backticks, in fences, indented."""
    return "\n".join(CODE.findall(everything()))


def in_backticks(pattern: str) -> list[str]:
    return sorted(set(re.findall(rf"`({pattern})`", everything())))


def links() -> list[tuple[Path, str]]:
    found = [
        (page, target)
        for page in PAGES
        for target in re.findall(r'(?:\]\(|src="|srcset=")([^)\s"]+)', page.read_text())
    ]
    return [(page, target) for page, target in found if not target.startswith("http")]


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {
        re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings
    }


@pytest.mark.parametrize(
    ("page", "target"), links(), ids=lambda part: part.name if isinstance(part, Path) else part
)
def test_every_link_leads_somewhere(page: Path, target: str) -> None:
    path, _, anchor = target.partition("#")
    file = (page.parent / path).resolve() if path else page
    assert file.is_file()
    assert not anchor or anchor in anchors(file)


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached, left = set(), [ROOT / "README.md"]
    while left:
        page = left.pop()
        reached.add(page)
        targets = {
            (at.parent / target.partition("#")[0]).resolve() for at, target in links() if at == page
        }
        left += [target for target in targets if target.suffix == ".md" and target not in reached]
    assert reached == set(PAGES)


@pytest.mark.parametrize("image", IMAGES, ids=lambda image: image.name)
def test_every_image_is_small_and_used(image: Path) -> None:
    assert image.stat().st_size <= LARGEST_IMAGE
    assert f"images/{image.name}" in everything()


def test_every_command_is_one() -> None:
    named = set(re.findall(r"manage\.py (\w+)", everything()))
    assert named
    assert named <= get_commands().keys()


def test_every_target_of_make_is_one() -> None:
    makefile = (ROOT / "Makefile").read_text()
    named = set(re.findall(r"\bmake ([a-z]+)", code()))
    assert {"serve", "demo", "test"} <= named
    assert named <= set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))


def permissions() -> set[str]:
    page = (DOCS / "admin.md").read_text().partition("## Who may do what")[2]
    return set(re.findall(r"`(\w+\.\w+)`", page))


def names() -> list[str]:
    """Return what is spelled like a name of ours and is neither a permission nor a check's id."""
    dotted = in_backticks(rf"(?:{ROOMS})(?:\.\w+)+(?<!\.py)")
    return [
        name
        for name in dotted
        if name not in permissions() | NOT_NAMES and not re.fullmatch(r"\w+\.[EW]\d+", name)
    ]


@pytest.mark.parametrize("name", names())
def test_every_name_is_where_it_is_said_to_be(name: str) -> None:
    assert resolved(name) is not None


def resolved(name: str) -> object:
    """Return what a dotted name stands for; raise AttributeError where there is no such thing."""
    parts = name.split(".")
    found: Any = importlib.import_module(parts[0])
    for count, part in enumerate(parts[1:], start=2):
        if isinstance(found, ModuleType) and not hasattr(found, part):
            importlib.import_module(".".join(parts[:count]))
        found = getattr(found, part)
    return found


@pytest.mark.parametrize("path", in_backticks(rf"(?:{ROOMS}|docs|templates|static)/[\w./-]*"))
def test_every_path_is_there(path: str) -> None:
    assert (ROOT / path).exists()


@pytest.mark.django_db
def test_every_permission_exists() -> None:
    known = Permission.objects.values_list("content_type__app_label", "codename")
    assert permissions()
    assert permissions() <= {f"{app}.{name}" for app, name in known}


def addresses(patterns: list[Any], prefix: str = "/") -> Iterator[str]:
    for pattern in patterns:
        address = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver) and address != "/admin/":
            yield from addresses(pattern.url_patterns, address)
        elif isinstance(pattern, URLPattern):
            yield re.sub(r"<(?:\w+:)?(?:agent_)?(\w+)>", r"<\1>", address)
        else:
            yield address


@pytest.mark.parametrize("address", [*addresses(get_resolver().url_patterns)])
def test_every_public_address_is_described(address: str) -> None:
    assert address in everything()


def test_every_reason_of_a_refusal_is_explained() -> None:
    files = [
        "routes/receive.py",
        "routes/greeting.py",
        "routes/handshakes.py",
        "routes/signatures/explanations.py",
    ]
    source = "".join((ROOT / file).read_text() for file in files)
    refused = r'(?:Refused\(|_refuse\(\s*request, \w+, \d+,)\s*"(\w+)"'
    reasons = set(re.findall(refused, source))
    assert {"bad_signature", "too_large", "no_destination", "missing_secret"} <= reasons
    page = (DOCS / "troubleshooting.md").read_text()
    assert {reason for reason in reasons if f"`{reason}`" not in page} == set()
    assert reasons <= REMEDIES.keys()


def test_every_error_class_of_an_agents_delivery_is_explained() -> None:
    files = [
        "agents/connections/webhook.py",
        "deliveries/destinations.py",
        "deliveries/sending.py",
    ]
    source = "".join((ROOT / file).read_text() for file in files)
    made = set(re.findall(r'Outcome\.(?:retry|failed)\(\s*"(\w+)"', source))
    made |= {kind.error_class for kind in OutboundError.__subclasses__()}
    made |= {"exhausted", "expired", "interrupted", "unrecordable"}
    page = (DOCS / "troubleshooting.md").read_text()
    assert {kind for kind in made if f"`{kind}`" not in page} == set()


# The samples of docs/agents.md ---------------------------------------------------------------


def sample(beginning_with: str, tmp_path: Path) -> str:
    """Return the path of a file with the sample of docs/agents.md that has this text in it."""
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / "agents.md").read_text(), re.DOTALL)
    [source] = [block for block in blocks if beginning_with in block]
    file = tmp_path / "sample.py"
    file.write_text(source)
    return str(file)


@pytest.fixture
def connected(db: None, live_server: LiveServer, monkeypatch: pytest.MonkeyPatch) -> Agent:
    """An agent, with what it is given when it is connected in the environment."""
    agent = make_agent("hello")
    monkeypatch.setenv("HERMES_URL", live_server.url)
    monkeypatch.setenv("HASHEE_AGENT_ID", str(agent.pk))
    monkeypatch.setenv("HASHEE_AGENT_TOKEN", issue_token(agent))
    monkeypatch.setenv("HASHEE_WEBHOOK_SECRET", SECRET)
    return agent


class Gateway(BaseHTTPRequestHandler):
    """A gateway that notes what agents say."""

    said: list[tuple[str, str | None, bytes]]
    heard: threading.Event

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.said.append((self.path, self.headers["Authorization"], body))
        self.send_response(202)
        self.end_headers()
        self.wfile.write(b'{"event_id": "1"}')
        self.heard.set()

    def log_message(self, *_args: object) -> None:
        """Say nothing."""


def serve(handler: type[BaseHTTPRequestHandler]) -> HTTPServer:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def test_the_hello_world_takes_what_the_gateway_sends_once_and_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Gateway.said, Gateway.heard = [], threading.Event()
    gateway = serve(Gateway)
    monkeypatch.setenv("HERMES_URL", f"http://127.0.0.1:{gateway.server_address[1]}")
    monkeypatch.setenv("HASHEE_AGENT_ID", "the-agent")
    monkeypatch.setenv("HASHEE_AGENT_TOKEN", "hsk_token")
    monkeypatch.setenv("HASHEE_WEBHOOK_SECRET", SECRET)
    hello = runpy.run_path(sample("class Webhook", tmp_path))
    monkeypatch.setattr(hello["Webhook"], "log_message", lambda *_args: None)
    agent = serve(hello["Webhook"])
    url = f"http://127.0.0.1:{agent.server_address[1]}/"
    message = make_message()
    body = wire.body(message)
    signed = headers_of(message, body)
    try:
        answers = [requests.post(url, data=body, headers=signed, timeout=5) for _ in range(2)]
        forged = requests.post(url, data=body + b" ", headers=signed, timeout=5)
        assert Gateway.heard.wait(5)
    finally:
        agent.shutdown()
        gateway.shutdown()
    assert [answer.status_code for answer in answers] == [200, 200]
    assert forged.status_code == 401
    [(path, authorization, said)] = Gateway.said
    assert path == "/agents/the-agent/messages"
    assert authorization == "Bearer hsk_token"
    assert str(message.conversation_id) in said.decode()


def test_the_verifier_without_the_sdk_accepts_what_the_gateway_signs(tmp_path: Path) -> None:
    verify = runpy.run_path(sample("def verify", tmp_path))["verify"]
    message = make_message()
    body = wire.body(message)
    headers = headers_of(message, body)
    assert verify(SECRET, headers, body)
    assert not verify(SECRET, headers, body + b" ")
    assert not verify(SECRET, {}, body)
    assert not verify(SECRET, headers_of(message, body, age=301), body)


@pytest.mark.django_db(transaction=True)
def test_the_recover_of_the_page_recovers(
    connected: Agent, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mark_unreachable(connected)
    deliver(connected)
    runpy.run_path(sample("connection/recover", tmp_path))
    assert capsys.readouterr().out == "1 messages are on their way\n"
    connected.refresh_from_db()
    assert connected.connection_status == Agent.Status.READY


def headers_of(message: Any, body: bytes, age: int = 0) -> dict[str, str]:
    return wire.headers(
        secret=SECRET,
        agent_id=message.event_id,
        delivery_id=message.id,
        body=body,
        timestamp=int(time.time()) - age,
    )
