"""Those who post to a gateway: GitHub and GitLab as they really do, and a crowd that insists."""

import hashlib
import hmac
import http.client
import itertools
import json
import threading
import time
import uuid
from pathlib import Path
from typing import Any

from tests.gateway.process import Gateway

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures"
PULL_REQUEST = (FIXTURES / "github/pull_request__opened.json").read_bytes()
PUSH = (FIXTURES / "github/push.json").read_bytes()
MERGE_REQUEST = (FIXTURES / "gitlab/merge_request__open.json").read_bytes()


def github(event: str, body: bytes, secret: str, delivery_id: str = "") -> dict[str, str]:
    """Return the headers of a delivery of GitHub's."""
    digest = hmac.new(secret.encode(), body, hashlib.sha256)
    sha1 = hmac.new(secret.encode(), body, hashlib.sha1)
    return {
        "Accept": "*/*",
        "Content-Type": "application/json",
        "User-Agent": "GitHub-Hookshot/044aadd",
        "X-GitHub-Delivery": delivery_id or str(uuid.uuid4()),
        "X-GitHub-Event": event,
        "X-GitHub-Hook-ID": "434862173",
        "X-GitHub-Hook-Installation-Target-ID": "186853002",
        "X-GitHub-Hook-Installation-Target-Type": "repository",
        "X-Hub-Signature": f"sha1={sha1.hexdigest()}",
        "X-Hub-Signature-256": f"sha256={digest.hexdigest()}",
    }


def gitlab(event: str, token: str) -> dict[str, str]:
    """Return the headers of a delivery of GitLab's."""
    event_id = str(uuid.uuid4())
    return {
        "Content-Type": "application/json",
        "User-Agent": "GitLab/17.5.0",
        "Idempotency-Key": event_id,
        "X-Gitlab-Event": event,
        "X-Gitlab-Event-UUID": event_id,
        "X-Gitlab-Instance": "https://gitlab.acme.example",
        "X-Gitlab-Token": token,
        "X-Gitlab-Webhook-UUID": str(uuid.uuid4()),
    }


class Crowd:
    """So many senders at a time, each of which posts an id until it is told that it is kept.

    ``accepted`` are the ids that got a 202, ``kept`` those that got a 202 or, as the answer to
    an earlier try was lost, a 200 for a duplicate; ``wrong`` is every other answer.
    """

    def __init__(self, gateway: Gateway, route: str, size: int = 16, pause: float = 0.0) -> None:
        self.accepted: list[str] = []
        self.kept: list[str] = []
        self.wrong: list[tuple[int, Any]] = []
        self.lost_answers = 0
        self._gateway, self._route, self._pause = gateway, route, pause
        self._secret = gateway.settings["WEBHOOK_SECRET"]
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._post_all) for _ in range(size)]

    def __enter__(self) -> "Crowd":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _post_all(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._gateway.port, timeout=10)
        while not self._over.is_set():
            headers = github("pull_request", PULL_REQUEST, self._secret)
            for tried in itertools.count():
                if tried and self._over.is_set():
                    break
                try:
                    connection.request("POST", f"/webhooks/{self._route}", PULL_REQUEST, headers)
                    with connection.getresponse() as reply:
                        self._note(headers["X-GitHub-Delivery"], reply.status, json.load(reply))
                    break
                except (OSError, http.client.HTTPException, ValueError):
                    self.lost_answers += 1
                    connection.close()
                    time.sleep(0.05)
            time.sleep(self._pause)
        connection.close()

    def _note(self, delivery_id: str, status: int, answer: Any) -> None:
        match status, answer.get("status"):
            case 202, _:
                self.accepted.append(delivery_id)
                self.kept.append(delivery_id)
            case 200, "duplicate":
                self.kept.append(delivery_id)
            case _:
                self.wrong.append((status, answer))
