"""An agent in fifty lines: the SDK takes what it is sent, says 200 at once, and answers later.

``python -m hermes_site.demo.agent <parent's pid> <port>``, with what an agent is given when it is
connected in the environment. Copy it to begin an agent of your own.
"""

import logging
import sys
import time

from agent_sdk import InboundMessage, WebhookDispatcher, http_server
from hermes_site.gateway.orphans import follow

logger = logging.getLogger("agent")

THINKING = 0.5  # seconds
AT_A_TIME = 8


def reply(message: InboundMessage) -> str:
    """Think, and return what to say in the conversation the message came from."""
    facts = facts_of(message.text)
    if not facts:
        logger.info("was asked: %s", message.text)
        return f"> {message.text}\n\nI can’t know that: this is the demo agent, and has no model."
    subject = next((facts[key] for key in facts if key.startswith(("PR ", "MR "))), "this change")
    logger.info("was asked about: %s", subject)
    time.sleep(THINKING)
    return opinion(subject, facts.get("Author", "the author"))


def facts_of(prompt: str) -> dict[str, str]:
    """Return the lines of a prompt that read "name: value".

    The gateway has put ⟦ and ⟧ around what came from outside, so that no model takes it for
    instructions; whoever quotes it leaves them out.
    """
    lines = prompt.replace("⟦", "").replace("⟧", "").splitlines()
    return dict(line.split(": ", 1) for line in lines if ": " in line)


def opinion(subject: str, author: str) -> str:
    """Return what a model would say, if this agent had one."""
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
    dispatcher = WebhookDispatcher.from_environment(on_message=reply, background=AT_A_TIME)
    http_server(dispatcher, int(port), "127.0.0.1").serve_forever()


if __name__ == "__main__":
    main()
