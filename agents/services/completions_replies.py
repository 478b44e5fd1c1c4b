"""What a chat endpoint answers, read: completions, whole or in a stream, and error bodies."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from deliveries.outbound import BadResponse

CONTENT_LIMIT = 1_000_000  # characters; what an agent may say ends at 1 MB
WORD_LIMIT = 100  # characters of a model's name, a finish reason, an id
SAID_LIMIT = 300  # characters of an error's text


@dataclass(frozen=True, slots=True)
class Completion:
    """What a model said; token counts are None where the endpoint does not tell."""

    text: str
    finish_reason: str = ""
    tools: Sequence[str] = ()  # the names of what it wanted to be called
    model: str = ""
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Fault:
    """What an endpoint says is wrong."""

    message: str
    code: str = ""  # "context_length_exceeded", "429"
    status: int | None = None  # where the body names one


class Faulty(Exception):
    """The answer is an error, whatever its status was."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.message)
        self.fault = fault


class Unreadable(Exception):
    """The answer is neither a completion nor an error."""


class CutOff(BadResponse):
    """A stream ended before the model was done."""


def read_completion(body: bytes) -> Completion:
    """Return the completion that a body is; raise Faulty or Unreadable."""
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        raise Unreadable from None
    raise_fault(data)
    choice = _first_choice(data)
    message = choice.get("message")
    if not isinstance(message, dict):
        raise Unreadable
    return _completion(
        _content(message),
        _word(choice.get("finish_reason")),
        _tool_names(message),
        _word(data.get("model")),
        data.get("usage"),
    )


def raise_fault(data: Any) -> None:
    """Raise Faulty if a decoded body is an error in one of the usual shapes."""
    fault = read_fault(data)
    if fault is not None:
        raise Faulty(fault)


def read_fault(data: Any) -> Fault | None:
    """Return the error that a decoded body is, or None.

    OpenAI and most others: {"error": {"message", "type", "code", "param"}}; OpenRouter puts a
    status into ``code``; Ollama a text into ``error``; older vLLM {"object": "error", "message"};
    FastAPI {"detail": …}; Google wraps it in a list.
    """
    if isinstance(data, list) and data:
        data = data[0]
    if not isinstance(data, dict):
        return None
    error = data.get("error")
    if not error and data.get("object") == "error":
        error = data
    if not error and "choices" not in data:
        error = data.get("detail") or data.get("message")
    if not error:
        return None
    if isinstance(error, str):
        return Fault(_sentence(error))
    if not isinstance(error, dict):
        return Fault(_sentence(json.dumps(error, ensure_ascii=False)))
    code = error.get("code")
    words = (error.get("type"), code, error.get("param"))
    return Fault(
        _sentence(error.get("message") or json.dumps(error, ensure_ascii=False)),
        " ".join(str(word) for word in words if isinstance(word, str | int))[:WORD_LIMIT],
        _status(code),
    )


@dataclass(slots=True)
class Stream:
    """Server-sent events of a chat completion, gathered line by line.

    https://html.spec.whatwg.org/multipage/server-sent-events.html
    """

    done: bool = False
    _text: list[str] = field(default_factory=list)
    _size: int = 0
    _tools: list[str] = field(default_factory=list)
    _finish_reason: str = ""
    _model: str = ""
    _usage: Any = None
    _event: str = ""
    _data: list[str] = field(default_factory=list)

    def read(self, lines: Iterable[bytes]) -> Completion:
        """Return what the lines of a stream amount to; raise Faulty, Unreadable or CutOff."""
        for line in lines:
            self._take(line.decode(errors="replace"))
            if self.done:
                break
        self._dispatch()  # the last event, when no empty line follows it
        if not (self.done or self._finish_reason):
            raise CutOff("")
        return _completion(
            "".join(self._text), self._finish_reason, self._tools, self._model, self._usage
        )

    def _take(self, line: str) -> None:
        if not line:
            self._dispatch()
            return
        name, _colon, value = line.partition(":")  # a comment has no name
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
        elif name == "event":
            self._event = value

    def _dispatch(self) -> None:
        event, data = self._event, "\n".join(self._data)
        self._event, self._data = "", []
        # Events with a name are for whoever watches (hermes-agent tells of its tools so).
        if not data or event not in ("", "message", "error"):
            return
        if data.strip() == "[DONE]":
            self.done = True
            return
        try:
            chunk = json.loads(data)
        except (ValueError, RecursionError):
            raise Unreadable from None
        raise_fault(chunk)
        if not isinstance(chunk, dict):
            raise Unreadable
        if event == "error":
            raise Faulty(Fault(_sentence(data)))
        self._add(chunk)

    def _add(self, chunk: Mapping[str, Any]) -> None:
        self._model = self._model or _word(chunk.get("model"))
        self._usage = chunk.get("usage") or self._usage
        choice = _first_choice(chunk, missing_ok=True)
        delta = choice.get("delta") or choice.get("message")
        if isinstance(delta, dict):
            text = _content(delta)
            self._size += len(text)
            if self._size <= CONTENT_LIMIT:
                self._text.append(text)
            self._tools += _tool_names(delta)
        self._finish_reason = _word(choice.get("finish_reason")) or self._finish_reason


def _first_choice(data: Any, *, missing_ok: bool = False) -> Mapping[str, Any]:
    choices = data.get("choices") if isinstance(data, dict) else None
    if isinstance(choices, list):
        for choice in choices:
            if isinstance(choice, dict) and choice.get("index") in (0, None):
                return choice
    if missing_ok:  # the chunk with the usage has none
        return {}
    raise Unreadable


def _content(message: Mapping[str, Any]) -> str:
    """Return what a message says aloud: no reasoning; a refusal where there is nothing else."""
    content = message.get("content")
    if isinstance(content, list):
        texts = [part.get("text") for part in content if _is_spoken(part)]
        content = "".join(text for text in texts if isinstance(text, str))
    if isinstance(content, str) and content:
        return content
    refusal = message.get("refusal")
    return refusal if isinstance(refusal, str) else ""


def _is_spoken(part: Any) -> bool:
    return isinstance(part, dict) and part.get("type") in ("text", "output_text")


def _tool_names(message: Mapping[str, Any]) -> list[str]:
    calls = message.get("tool_calls")
    if not isinstance(calls, list):
        calls = []
    functions = [call.get("function") for call in calls if isinstance(call, dict)]
    functions.append(message.get("function_call"))  # as it was before there were several
    named = (function.get("name") for function in functions if isinstance(function, dict))
    return [word for name in named if (word := _word(name))]


def _completion(
    text: str, finish_reason: str, tools: Sequence[str], model: str, usage: Any
) -> Completion:
    usage = usage if isinstance(usage, dict) else {}
    return Completion(
        text=_writable(text),
        finish_reason=finish_reason,
        tools=tuple(dict.fromkeys(tools))[:10],
        model=model,
        prompt_tokens=_count(usage.get("prompt_tokens")),
        completion_tokens=_count(usage.get("completion_tokens")),
    )


def _count(value: Any) -> int | None:
    right = isinstance(value, int) and not isinstance(value, bool)
    return min(value, 2**53) if right and value >= 0 else None


def _status(code: Any) -> int | None:
    number = int(code) if isinstance(code, str) and code.isdecimal() and len(code) == 3 else code
    return number if isinstance(number, int) and 400 <= number <= 599 else None


def _word(value: Any) -> str:
    return _writable(value)[:WORD_LIMIT] if isinstance(value, str) else ""


def _sentence(value: Any) -> str:
    text = " ".join(_writable(str(value)).split())
    return f"{text[:SAID_LIMIT]}…" if len(text) > SAID_LIMIT else text


def _writable(text: str) -> str:
    """Return a text without what can be stored nowhere: NUL, halves of a surrogate pair."""
    return text.encode(errors="replace").decode().replace("\0", "�")
