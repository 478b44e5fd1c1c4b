"""One call of a chat endpoint: what is sent, and what its answer means."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self
from urllib.parse import urlsplit, urlunsplit

from django.utils.translation import gettext as _

from deliveries.outbound import OutboundError
from deliveries.outbound.streaming import Streamed, TooLong, stream
from deliveries.outcomes import Outcome
from deliveries.retry_after import asked_wait
from vault.redaction import redact, redact_headers

from .completions import Endpoint
from .completions_history import Turn
from .completions_replies import (
    Completion,
    CutOff,
    Fault,
    Faulty,
    Stream,
    Unreadable,
    read_completion,
    read_fault,
)

BODY_LIMIT = 4_194_304  # bytes of an answer that comes whole
STREAM_LIMIT = 67_108_864  # bytes of a stream: a few hundred for each of its few characters
FAULT_LIMIT = 65_536  # bytes of an error's body
KEPT = 4096  # bytes of a request's body and of a response that an attempt keeps

CONTEXT_LENGTH = "context_length"
# Endpoints word it each in their way: OpenAI and vLLM, llama.cpp, Anthropic by a proxy, Gemini.
_TOO_MUCH = re.compile(
    r"context.?(length|window|size)|maximum context|too many (input )?tokens"
    r"|(prompt|input|request|messages?)\b.{0,30}\btoo (long|large)"
    r"|token count.{0,40}exceed|exceed.{0,40}(token limit|context)",
    re.IGNORECASE,
)
_NO_MODEL = re.compile(
    r"model\b.{0,120}(not found|does ?n.t exist|not exist|not available|not supported|unknown)"
    r"|(invalid|unknown|no such|unsupported) model|model_not_found|no endpoints found",
    re.IGNORECASE | re.DOTALL,
)
# OpenAI's reasoning models; vLLM names both parameters when the number is too large.
_OTHER_LIMIT = re.compile(
    r"max_tokens.{0,80}(unsupported|not supported).{0,80}max_completion", re.S
)
_NO_CREDIT = re.compile(r"insufficient_(quota|balance|credits)|billing|out of credits", re.I)


@dataclass(frozen=True, slots=True)
class Wording:
    """How a request is put; endpoints differ in what they take, and say so when asked wrong."""

    limit_name: str = "max_tokens"
    with_usage: bool = True

    def instead(self, complaint: str) -> Self | None:
        """Return a wording without what an endpoint complains about; None if that is not it."""
        if self.limit_name == "max_tokens" and _OTHER_LIMIT.search(complaint):
            return replace(self, limit_name="max_completion_tokens")
        if self.with_usage and ("stream_options" in complaint or "include_usage" in complaint):
            return replace(self, with_usage=False)
        return None


@dataclass(frozen=True, slots=True)
class Call:
    """What one call came to: a completion, or an outcome that is none.

    ``facts`` are what an Outcome keeps of it (request, response, status). ``complaint`` is what an
    error said, for whoever can word the request otherwise.
    """

    result: Completion | Outcome
    facts: Mapping[str, Any]
    complaint: str = ""


def call(
    endpoint: Endpoint, turns: Sequence[Turn], seconds: float, wording: Wording | None = None
) -> Call:
    """Ask once, within so many seconds; never raises for what the endpoint may do."""
    headers, body = _request(endpoint, turns, wording or Wording())
    secrets = (endpoint.key,) if endpoint.key else ()
    facts: dict[str, Any] = {"request": redact(_shown(endpoint.url, headers, body), secrets)}
    try:
        with stream(
            "POST",
            endpoint.url,
            headers=headers,
            body=body,
            policy=endpoint.policy,
            timeout=seconds,
            secrets=secrets,
        ) as answer:
            return _heard(answer, facts, secrets)
    except TooLong as error:
        return Call(Outcome.failed("too_large", str(error), **facts), facts)
    except OutboundError as error:
        return Call(_unanswered(error, facts), facts)


def _request(
    endpoint: Endpoint, turns: Sequence[Turn], wording: Wording
) -> tuple[dict[str, str], bytes]:
    content: dict[str, Any] = {"model": endpoint.model, "messages": list(turns)}
    if endpoint.max_tokens is not None:
        content[wording.limit_name] = endpoint.max_tokens
    if endpoint.temperature is not None:
        content["temperature"] = endpoint.temperature
    content["stream"] = endpoint.stream
    if endpoint.stream and wording.with_usage:
        content["stream_options"] = {"include_usage": True}
    headers = {
        "Content-Type": "application/json",
        "Accept": "text/event-stream" if endpoint.stream else "application/json",
    }
    if endpoint.key:
        headers["Authorization"] = f"Bearer {endpoint.key}"
    return headers, json.dumps(content, ensure_ascii=False).encode(errors="replace")


def _heard(answer: Streamed, facts: dict[str, Any], secrets: Sequence[str]) -> Call:
    """Read an answer and say what it is; what it came in decides, not what was asked for."""
    facts["status"] = answer.status
    if not 200 <= answer.status < 300:
        body = _start_of(answer)
        facts["response"] = _excerpt(body, secrets)
        fault = read_fault(_json(body)) or Fault("")
        return _judged(answer.status, fault, answer.headers, facts, secrets)
    try:
        if _is_stream(answer):
            completion = Stream().read(answer.lines(STREAM_LIMIT))
            facts["response"] = _excerpt(completion.text.encode(), secrets)
            return Call(completion, facts)
        body = answer.read(BODY_LIMIT)
        facts["response"] = _excerpt(body, secrets)
        return Call(read_completion(body), facts)
    except Faulty as error:
        fault = error.fault
        return _judged(fault.status or 200, fault, answer.headers, facts, secrets)
    except CutOff:
        return Call(_cut_off(facts), facts)
    except Unreadable:
        return Call(_unreadable(answer, facts), facts)


def _judged(
    status: int,
    fault: Fault,
    headers: Mapping[str, str],
    facts: dict[str, Any],
    secrets: Sequence[str],
) -> Call:
    complaint = f"{fault.code} {fault.message}"
    said = redact(fault.message, secrets) or _("it gave no reason")
    words = {"status": status, "said": said}
    return Call(_meaning(status, complaint, words, headers, facts), facts, complaint)


def _meaning(
    status: int,
    complaint: str,
    words: Mapping[str, Any],
    headers: Mapping[str, str],
    facts: Mapping[str, Any],
) -> Outcome:
    """Return what an error means: by its words where they are plain, else by its status."""
    if status not in (401, 403, 429) and _TOO_MUCH.search(complaint):
        text = _("The message is too long for the model (%(status)s): %(said)s")
        return Outcome.failed(CONTEXT_LENGTH, text % words, **facts)
    if status == 402 or (status in (200, 403, 429) and _NO_CREDIT.search(complaint)):
        # A retry, as the message is sound and an operator can mend this.
        text = _("The endpoint wants to be paid (%(status)s): %(said)s")
        return Outcome.retry("no_credit", text % words, **facts)
    if status == 401:
        text = _("The endpoint refused the API key (401): %(said)s")
        return Outcome.failed("unauthorized", text % words, **facts)
    if status == 403:
        text = _("The endpoint forbids this (403): %(said)s")
        return Outcome.failed("forbidden", text % words, **facts)
    if status in (200, 400, 404, 422) and _NO_MODEL.search(complaint):
        text = _("The endpoint does not have this model (%(status)s): %(said)s")
        return Outcome.failed("model_missing", text % words, **facts)
    if status in (404, 405):
        text = _("There is no chat endpoint at this address (%(status)s): %(said)s")
        return Outcome.failed("not_found", text % words, **facts)
    if status == 429:
        return Outcome.retry(
            "rate_limited",
            _("The endpoint asked to wait (429): %(said)s") % words,
            retry_after=asked_wait(headers.get("Retry-After", "")),
            **facts,
        )
    if 300 <= status < 400:
        text = _("The endpoint redirects (%(status)s), which is not followed; enter the final URL.")
        return Outcome.failed("redirect", text % words, **facts)
    # 408, 409 and 425 say "not now"; so does an error inside of a 200 that names no status.
    if 400 <= status < 500 and status not in (408, 409, 425):
        text = _("The endpoint refused with %(status)s: %(said)s")
        return Outcome.failed("client_error", text % words, **facts)
    text = _("The endpoint failed (%(status)s): %(said)s")
    return Outcome.retry("server_error", text % words, **facts)


def _unreadable(answer: Streamed, facts: Mapping[str, Any]) -> Outcome:
    if (
        "html" in answer.headers.get("Content-Type", "")
        or "<html" in facts.get("response", "").lower()
    ):
        text = _("There is a web page at this address, and no chat endpoint; is a /v1 missing?")
        return Outcome.failed("not_an_endpoint", text, **facts)
    return Outcome.retry("bad_answer", _("The endpoint's answer is no completion."), **facts)


def _cut_off(facts: Mapping[str, Any]) -> Outcome:
    text = _("The endpoint's stream ended before its answer did.")
    return Outcome.retry("truncated", text, ambiguous=True, **facts)


def _unanswered(error: OutboundError, facts: Mapping[str, Any]) -> Outcome:
    if error.error_class == "blocked":
        text = _("%(why)s Private addresses have to be allowed in the agent's endpoint.")
        return Outcome.failed("blocked", text % {"why": error}, **facts)
    return Outcome.retry(error.error_class, str(error), ambiguous=error.sent, **facts)


def _is_stream(answer: Streamed) -> bool:
    return answer.headers.get("Content-Type", "").lower().startswith("text/event-stream")


def _start_of(answer: Streamed) -> bytes:
    """Return an error's body; nothing of one that can't be read, as its status says enough."""
    try:
        return answer.read(FAULT_LIMIT)
    except OutboundError:
        return b""


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _shown(url: str, headers: Mapping[str, str], body: bytes) -> str:
    """Return a request as an attempt keeps it: no query, which may hold a key; body cut."""
    parts = urlsplit(url)
    address = urlunsplit(parts._replace(query="***" if parts.query else ""))
    fields = [f"{name}: {value}" for name, value in redact_headers(headers).items()]
    text = body[:KEPT].decode(errors="replace")
    return "\n".join([f"POST {address}", *fields, "", f"{text}…" if len(body) > KEPT else text])


def _excerpt(body: bytes, secrets: Sequence[str]) -> str:
    """Return the start of a response; hidden before it is cut, as a cut hides from redaction."""
    text = redact(body[:FAULT_LIMIT].decode(errors="replace").replace("\0", "�"), secrets)
    return text.encode()[:KEPT].decode(errors="ignore")
