"""The agents of docs/agents/*.md, run as they stand there against what the gateway sends."""

import json
import runpy
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import requests

from agent_sdk import WebhookDispatcher, http_server
from agent_sdk.dedupe import State
from tests.agent_sdk.gateway import AGENT_ID, Gateway, delivery, referred, serve

from . import dynamo
from .conftest import SECRET, make_message
from .languages import node, run, sample

SAID = {
    "conversation_id": str(make_message().conversation_id),
    "payload": {"type": "text", "text": f"You said: {make_message().text}"},
}


def given(gateway: Gateway) -> dict[str, str]:
    """Return what an agent is given when it is connected."""
    return {
        "HERMES_URL": gateway.url,
        "HASHEE_AGENT_ID": str(AGENT_ID),
        "HASHEE_AGENT_TOKEN": "hsk_token",
        "HASHEE_WEBHOOK_SECRET": SECRET,
    }


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gateway]:
    """A gateway, with what an agent is given when it is connected in the environment."""
    gateway = Gateway()
    server = serve(gateway)
    for name, value in given(gateway).items():
        monkeypatch.setenv(name, value)
    yield gateway
    server.shutdown()
    server.server_close()


def eventually(condition: Any) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def load(page: str, tmp_path: Path, having: str = "") -> dict[str, Any]:
    """Run a Python sample of a page, but not its main part, and return what it defines."""
    file = tmp_path / "sample.py"
    file.write_text(sample(page, "python", having))
    return runpy.run_path(str(file))


def test_the_hello_world_answers(gateway: Gateway, tmp_path: Path) -> None:
    hello = load("agents/hello-world.md", tmp_path, "def on_message")
    dispatcher = WebhookDispatcher.from_environment(
        on_message=hello["on_message"], on_event=hello["on_event"], background=4
    )
    server = http_server(dispatcher, 0, "127.0.0.1")
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    headers, body = delivery()
    event = delivery(event_type="relation.revoked", payload={"user_id": "u1"})
    try:
        url = f"http://127.0.0.1:{server.server_port}/"
        for signed, content in [(headers, body), (headers, body), event]:
            assert requests.post(url, data=content, headers=signed, timeout=5).status_code == 200
        assert requests.post(url, data=body + b" ", headers=headers, timeout=5).status_code == 401
        eventually(gateway.said)
    finally:
        server.shutdown()
        server.server_close()
    assert gateway.said() == [SAID | {"in_reply_to": headers["X-Hashee-Delivery-Id"]}]
    eventually(lambda: gateway.count("connection/recover") == 1)


@pytest.mark.parametrize("framework", ["flask", "fastapi"])
def test_the_sample_for_a_framework_makes_an_application(
    gateway: Gateway, tmp_path: Path, framework: str
) -> None:
    pytest.importorskip(framework, reason=f"{framework} is not installed")
    dispatcher = WebhookDispatcher.from_environment(on_message=lambda message: message.text)
    file = tmp_path / "sample.py"
    file.write_text(sample("agents/hello-world.md", "python", f"from {framework} "))
    made = runpy.run_path(str(file), init_globals={"dispatcher": dispatcher})
    paths = (
        [rule.rule for rule in made["app"].url_map.iter_rules()]
        if framework == "flask"
        else [route.path for route in made["app"].routes]
    )
    assert "/hashee/webhook" in paths


def test_the_agent_of_the_lambda_guide_takes_each_delivery_once(
    gateway: Gateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("boto3", reason="boto3 is not installed")
    items: dict[str, Any] = {}
    table = dynamo.serve(items)
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", f"http://127.0.0.1:{table.server_port}")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "example")
    monkeypatch.setenv("SEEN_TABLE", "seen")
    try:
        made = load("agents/aws-lambda.md", tmp_path)
        headers, body = referred(gateway)
        event = {"headers": headers, "body": body.decode(), "isBase64Encoded": False}
        first, second = (made["handler"](event, SimpleNamespace()) for _time in range(2))
        assert (first["statusCode"], second["statusCode"]) == (200, 200)
        assert json.loads(first["body"]) == {"payload": SAID["payload"]}
        assert json.loads(second["body"]) == {}
        assert made["handler"](event | {"body": "{}"}, None)["statusCode"] == 401
        assert made["handler"]({"source": "aws.events"}, None) == {"pending_count": 3}
        store = made["DynamoStore"]("seen")
        assert [store.begin("d1"), store.begin("d1")] == [State.NEW, State.BUSY]
        store.forget("d1")
        assert store.begin("d1") is State.NEW
        store.done("d1")
        assert store.begin("d1") is State.DONE
    finally:
        table.shutdown()
        table.server_close()


WORKER = """
import { readFileSync } from "node:fs";
import worker from "./worker.ts";
const { env, requests } = JSON.parse(readFileSync(0, "utf8"));
const kept = new Map();
env.SEEN = {
  get: async (key) => kept.get(key) ?? null,
  put: async (key, value) => void kept.set(key, value),
  delete: async (key) => void kept.delete(key),
};
const later = [];
const context = { waitUntil: (promise) => later.push(promise) };
const statuses = [];
for (const { method, headers, body } of requests) {
  const request = new Request("https://agent.example/", { method, headers, body });
  statuses.push((await worker.fetch(request, env, context)).status);
  await Promise.allSettled(later);
}
await worker.scheduled({}, env);
console.log(JSON.stringify({ statuses, kept: [...kept.keys()] }));
"""

VERCEL = """
import { readFileSync } from "node:fs";
import { GET, POST } from "./hashee.ts";
import { later } from "@vercel/functions";
const statuses = [];
for (const { method, headers, body } of JSON.parse(readFileSync(0, "utf8")).requests) {
  const request = new Request("https://agent.example/", { method, headers, body });
  statuses.push((await (method === "GET" ? GET : POST)(request)).status);
  await Promise.allSettled(later);
}
console.log(JSON.stringify({ statuses }));
"""


def posts(gateway: Gateway) -> tuple[list[dict[str, Any]], list[str]]:
    """Return requests for an agent, and the ids of the two genuine deliveries among them."""
    (headers, body), (large, stub) = delivery(), referred(gateway)
    old, late = delivery(age=400)
    made = [
        {"method": "POST", "headers": headers, "body": body.decode()},
        {"method": "POST", "headers": headers, "body": body.decode()},
        {"method": "POST", "headers": large, "body": stub.decode()},
        {"method": "POST", "headers": headers, "body": body.decode() + " "},
        {"method": "POST", "headers": old, "body": late.decode()},
        {"method": "POST", "headers": {}, "body": "{}"},
    ]
    return made, [one["X-Hashee-Delivery-Id"] for one in (headers, large)]


def test_the_cloudflare_worker_answers_each_delivery_once(gateway: Gateway, tmp_path: Path) -> None:
    (tmp_path / "worker.ts").write_text(sample("agents/cloudflare-workers.md", "ts"))
    (tmp_path / "main.mjs").write_text(WORKER)
    requested, ids = posts(gateway)
    requested.append({"method": "GET"})
    asked = {"env": given(gateway), "requests": requested}
    done = run([node(), "main.mjs"], asked, tmp_path)
    assert done["statuses"] == [200, 200, 200, 401, 401, 401, 405]
    assert done["kept"] == ids
    assert gateway.said() == [SAID | {"in_reply_to": one} for one in ids]
    assert gateway.count("connection/recover") == 1


class Redis(BaseHTTPRequestHandler):
    """Upstash's REST interface, for SET … NX and DEL."""

    kept: dict[str, str]

    def do_POST(self) -> None:
        command = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        result = None
        if command[0] == "SET" and command[1] not in self.kept:
            assert command[3:] == ["EX", "86400", "NX"]
            self.kept[command[1]] = command[2]
            result = "OK"
        elif command[0] == "DEL":
            self.kept.pop(command[1], None)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"result": result}).encode())

    def log_message(self, *_arguments: object) -> None:
        pass


def test_the_vercel_function_answers_each_delivery_once(gateway: Gateway, tmp_path: Path) -> None:
    Redis.kept = {}
    redis = ThreadingHTTPServer(("127.0.0.1", 0), Redis)
    threading.Thread(target=redis.serve_forever, args=(0.05,), daemon=True).start()
    package = tmp_path / "node_modules/@vercel/functions"
    package.mkdir(parents=True)
    (package / "package.json").write_text('{"type": "module", "main": "index.js"}')
    (package / "index.js").write_text(
        "export const later = [];\nexport const waitUntil = (promise) => later.push(promise);\n"
    )
    (tmp_path / "hashee.ts").write_text(sample("agents/vercel.md", "ts"))
    (tmp_path / "main.mjs").write_text(VERCEL)
    requested, ids = posts(gateway)
    requested += [
        {"method": "GET", "headers": {"Authorization": "Bearer cron"}},
        {"method": "GET", "headers": {}},
    ]
    try:
        done = run(
            [node(), "main.mjs"],
            {"requests": requested},
            tmp_path,
            KV_REST_API_URL=f"http://127.0.0.1:{redis.server_port}",
            KV_REST_API_TOKEN="kv",
            CRON_SECRET="cron",
        )
    finally:
        redis.shutdown()
        redis.server_close()
    assert done["statuses"] == [200, 200, 200, 401, 401, 401, 200, 401]
    assert list(Redis.kept) == [f"hashee:{one}" for one in ids]
    assert gateway.said() == [SAID | {"in_reply_to": one} for one in ids]
    assert gateway.count("connection/recover") == 1


def test_what_a_worker_fails_at_after_its_200_is_not_taken_for_a_repeat(
    gateway: Gateway, tmp_path: Path
) -> None:
    (tmp_path / "worker.ts").write_text(sample("agents/cloudflare-workers.md", "ts"))
    (tmp_path / "main.mjs").write_text(WORKER.replace("await worker.scheduled({}, env);", ""))
    gateway.away = True
    headers, body = delivery()
    request = {"method": "POST", "headers": headers, "body": body.decode()}
    asked = {"env": given(gateway), "requests": [request]}
    done = run([node(), "main.mjs"], asked, tmp_path)
    assert done == {"statuses": [200], "kept": []}
