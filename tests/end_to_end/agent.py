"""An agent as spec 002 describes one, with nothing of ours in it but the specification's verifier.

``python -m tests.end_to_end.agent <port> <report>``, with what an agent is given in the
environment. It answers every message by REST with ``Reviewed:`` and what it was asked, and writes
what it got into the report, one JSON object a line.
"""

import base64
import json
import os
import sys
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from .spec_verifier import verify

ANSWER = "Reviewed:\n"


class Agent(BaseHTTPRequestHandler):
    """Says 200 at once to what is genuine, 401 to the rest, and answers afterwards."""

    report = ""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        genuine = verify(os.environ["HASHEE_WEBHOOK_SECRET"], dict(self.headers), body)
        self.send_response(200 if genuine else 401)
        self.send_header("Content-Length", "0")
        self.end_headers()
        delivery = json.loads(body)
        message = json.loads(base64.b64decode(delivery["wire_envelope"]))
        got = {
            "path": self.path,
            "genuine": genuine,
            "headers": dict(self.headers),
            "body": delivery,
            "message": message,
        }
        with open(self.report, "a") as report:
            report.write(json.dumps(got) + "\n")
        if genuine:
            threading.Thread(target=answer, args=(message,)).start()

    def log_message(self, *_arguments: object) -> None:
        pass


def answer(message: dict[str, Any]) -> None:
    """Post an answer to the conversation that the message came from."""
    text = ANSWER + message["payload"]["text"]
    body = {
        "conversation_id": message["conversation_id"],
        "payload": {"type": "text", "text": text},
    }
    request = urllib.request.Request(
        f"{os.environ['HERMES_URL']}/agents/{os.environ['HASHEE_AGENT_ID']}/messages",
        json.dumps(body).encode(),
        {
            "Authorization": f"Bearer {os.environ['HASHEE_AGENT_TOKEN']}",
            "Content-Type": "application/json",
        },
    )
    urllib.request.urlopen(request, timeout=10).close()


if __name__ == "__main__":
    Agent.report = sys.argv[2]
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Agent).serve_forever()
