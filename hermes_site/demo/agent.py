"""An agent in a hundred lines: verifies what it is sent, says 200 at once, answers later.

``python -m hermes_site.demo.agent <parent's pid> <port>``, with what an agent is given when it is
connected in the environment. Copy it to begin an agent of your own.
"""

import logging
import os
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import requests

from agent_sdk import (
    InboundMessage,
    InvalidBody,
    parse_webhook_payload,
    post_message,
    verify_webhook_signature,
)
from hermes_site.gateway.orphans import follow

logger = logging.getLogger("agent")

GATEWAY = "HERMES_URL"
AGENT_ID = "HASHEE_AGENT_ID"
TOKEN = "HASHEE_AGENT_TOKEN"  # noqa: S105  the name of the variable
SECRET = "HASHEE_WEBHOOK_SECRET"  # noqa: S105
THINKING = 0.5  # seconds
LONGEST_BODY = 1_048_576


class Agent(BaseHTTPRequestHandler):
    """The webhook that the gateway posts to."""

    seen: set[str]  # a delivery may come twice, and then has the same id

    def do_POST(self) -> None:
        """Take one delivery: 401 if it is not the gateway's, else 200 before any work."""
        body = self.rfile.read(min(int(self.headers.get("Content-Length", 0)), LONGEST_BODY))
        if not verify_webhook_signature(os.environ[SECRET], dict(self.headers), body):
            return self._answer(401)
        try:
            message = parse_webhook_payload(body)
        except InvalidBody:
            return self._answer(400)
        self._answer(200)
        delivery_id = self.headers["X-Hashee-Delivery-Id"]
        if delivery_id in self.seen:
            return None
        self.seen.add(delivery_id)
        if message.type == "message.new" and message.conversation_id:
            threading.Thread(target=reply, args=(message, message.conversation_id)).start()
        return None

    def _answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing of each request; what matters is logged by name."""


def reply(message: InboundMessage, conversation_id: str) -> None:
    """Think, and say something in the conversation the message came from."""
    logger.info("was asked: %s", message.text.strip().splitlines()[0])
    time.sleep(THINKING)
    try:
        post_message(
            os.environ[GATEWAY],
            os.environ[AGENT_ID],
            os.environ[TOKEN],
            conversation_id,
            {"type": "text", "text": opinion(message.text)},
        )
    except requests.RequestException as error:
        logger.error("could not answer: %s", error)
    else:
        logger.info("answered")


def opinion(prompt: str) -> str:
    """Return what a model would say, if this agent had one."""
    facts = dict(line.split(": ", 1) for line in prompt.splitlines() if ": " in line)
    subject = next((facts[key] for key in facts if key.startswith(("PR ", "MR "))), "this change")
    author = facts.get("Author", "the author")
    return (
        f"**{subject}**\n\nThank you, {author}. The change does one thing and says why. Before it "
        "is merged:\n\n- a test in which the first try times out and the second succeeds\n"
        "- a line in the changelog, as callers will notice\n\n_This is the demo agent: it has no "
        "model and has not read the diff._"
    )


def main() -> None:
    """Serve until ended, or until the parent is."""
    parent, port = sys.argv[1:]
    follow(int(parent))
    logging.basicConfig(format="agent     | %(message)s", level=logging.INFO, stream=sys.stdout)
    Agent.seen = set()
    ThreadingHTTPServer(("127.0.0.1", int(port)), Agent).serve_forever()


if __name__ == "__main__":
    main()
