"""Asking a chat endpoint: what is sent, and what of its answer is used."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pytest_django import Settings

from deliveries.outcomes import Verdict

from .asking import KEY, ask, unsaved
from .conftest import make_message
from .fake_model import EVENTS, FakeModel, fixture, says, sends, serving, streams

D, R, F = Verdict.DELIVERED, Verdict.RETRY, Verdict.FAILED


@pytest.fixture
def model() -> Iterator[FakeModel]:
    with serving(FakeModel()) as fake:
        yield fake


def test_the_request_is_one_that_every_endpoint_takes(model: FakeModel) -> None:
    ask(model, "Review this. 尺寸")
    assert model.paths == ["/v1/chat/completions"]
    assert model.requests == [
        {
            "model": "fake-1",
            "messages": [{"role": "user", "content": "Review this. 尺寸"}],
            "stream": False,
        }
    ]
    assert model.headers[0]["Authorization"] == f"Bearer {KEY}"


def test_what_the_operator_set_is_sent(model: FakeModel) -> None:
    ask(model, system="You review code.", max_tokens=500, temperature=0.2)
    [request] = model.requests
    assert (request["max_tokens"], request["temperature"]) == (500, 0.2)
    assert request["messages"][0] == {"role": "system", "content": "You review code."}


def test_an_endpoint_without_a_key_is_sent_none(model: FakeModel) -> None:
    ask(model, key="")
    assert "Authorization" not in model.headers[0]


def test_a_query_of_the_base_address_stays_behind_the_path(model: FakeModel) -> None:
    model.base_url += "?api-version=2024-10-21"
    ask(model)
    assert model.paths == ["/v1/chat/completions?api-version=2024-10-21"]


@pytest.mark.parametrize("name", ["openai", "ollama", "deepseek", "parts"])
def test_the_answer_is_what_the_model_says_without_its_reasoning(
    model: FakeModel, name: str
) -> None:
    model.always = sends(fixture(f"answer__{name}.json"))
    outcome = ask(model)
    assert (outcome.verdict, outcome.status, outcome.error) == (D, 200, "")
    assert outcome.answer == {"type": "text", "text": "Looks good to me."}


@pytest.mark.parametrize("name", ["openai", "openrouter", "hermes_agent"])
@pytest.mark.parametrize("asked", [True, False])
def test_a_stream_is_read_to_the_same_answer_even_if_none_was_asked_for(
    model: FakeModel, name: str, asked: bool
) -> None:
    model.always = streams(fixture(f"stream__{name}.txt"))
    outcome = ask(model, stream=asked)
    assert outcome.answer == {"type": "text", "text": "Looks good to me."}
    assert outcome.provider_ids["finish_reason"] == "stop"
    assert outcome.provider_ids["prompt_tokens"] > 0
    assert model.requests[0]["stream"] is asked


def test_an_endpoint_that_does_not_stream_when_asked_to_is_understood(model: FakeModel) -> None:
    outcome = ask(model, stream=True)
    assert outcome.answer == {"type": "text", "text": "Looks good to me."}


def test_characters_that_are_torn_apart_by_a_stream_come_together(model: FakeModel) -> None:
    text = 'data: {"choices":[{"delta":{"content":"尺寸 🚀"},"finish_reason":"stop"}]}\r\n\r\n'
    model.always = streams(text.encode(), size=1)
    assert ask(model, stream=True).answer == {"type": "text", "text": "尺寸 🚀"}


def test_the_usage_is_recorded(model: FakeModel) -> None:
    model.always = sends(fixture("answer__openai.json"))
    assert ask(model).provider_ids == {
        "prompt_tokens": 19,
        "completion_tokens": 10,
        "model": "gpt-4.1-2025-04-14",
        "finish_reason": "stop",
    }


@pytest.mark.parametrize(
    "usage", [None, [], {"prompt_tokens": "many", "completion_tokens": -1}, {"prompt_tokens": True}]
)
def test_a_usage_that_makes_no_sense_is_left_out(model: FakeModel, usage: Any) -> None:
    body = json.loads(fixture("answer__openai.json"))
    body["usage"] = usage
    model.always = sends(json.dumps(body).encode())
    outcome = ask(model)
    assert outcome.verdict == D
    assert set(outcome.provider_ids) == {"model", "finish_reason"}


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        ("<think>Hm, a diff.</think>\n\nLooks good.", "Looks good."),
        ("\n<thinking>\nHm.\n</thinking>Looks good.", "Looks good."),
        ("Hm, a diff.\nIt is small.\n</think>\n\nLooks good.", "Looks good."),
        ("Write <think> tags so: <think>x</think>", "Write <think> tags so: <think>x</think>"),
        ("The tag </think> ends it.", "The tag </think> ends it."),
        ("  Looks good.\n", "Looks good."),
    ],
)
def test_reasoning_inside_of_the_text_is_dropped(model: FakeModel, said: str, answer: str) -> None:
    model.always = says(said)
    assert ask(model).answer == {"type": "text", "text": answer}


@pytest.mark.parametrize(
    "said", ["", " \n", "<think>I need more time", "<think>All is said.</think>\n"]
)
def test_an_answer_without_words_is_none(model: FakeModel, said: str) -> None:
    model.always = says(said)
    outcome = ask(model)
    assert (outcome.verdict, outcome.answer) == (D, None)
    assert "answered nothing" in outcome.error


@pytest.mark.parametrize(
    "said",
    [
        "[SILENT]",
        " silent ",
        "NO_REPLY",
        "no reply",
        "NO  REPLY",
        "*[SILENT]*",
        "NO_REPLY.",
        ".NO_REPLY",
        "<think>Nothing new.</think>[SILENT]",
        "Nothing new since last time.\n[SILENT]",
        "NO_REPLY\n\nThere is nothing to add.",
    ],
)
def test_a_model_that_wants_to_stay_silent_does(model: FakeModel, said: str) -> None:
    model.always = says(said)
    outcome = ask(model)
    assert (outcome.verdict, outcome.answer) == (D, None)
    assert "say nothing" in outcome.error


@pytest.mark.parametrize(
    "said",
    [
        "Use NO_REPLY when no answer is needed.",
        "The reply was [SILENT], intentionally.",
        "😄 NO_REPLY",
        "[SILENT",
        "First.\nNO_REPLY\nLast.",
        "Silent mode is on.",
    ],
)
def test_a_marker_within_a_sentence_silences_nothing(model: FakeModel, said: str) -> None:
    model.always = says(said)
    assert ask(model).answer == {"type": "text", "text": said}


def test_a_refusal_of_the_model_is_its_answer(model: FakeModel) -> None:
    message = {"role": "assistant", "content": None, "refusal": "I can't help with that."}
    model.always = says("", message=message)
    assert ask(model).answer == {"type": "text", "text": "I can't help with that."}


def test_an_answer_that_was_cut_at_the_limit_is_posted_and_says_so(model: FakeModel) -> None:
    model.always = sends(fixture("answer__cut_at_the_limit.json"))
    outcome = ask(model)
    assert outcome.answer == {"type": "text", "text": "The first of three points is"}
    assert "limit of tokens" in outcome.error


@pytest.mark.parametrize("streamed", [True, False])
def test_a_model_that_wants_tools_is_told_that_there_are_none(
    model: FakeModel, streamed: bool
) -> None:
    wants = (
        streams(fixture("stream__tool_calls.txt"))
        if streamed
        else sends(fixture("answer__tool_calls.json"))
    )
    model.script = [wants]
    outcome = ask(model)
    assert outcome.answer == {"type": "text", "text": "Looks good to me."}
    assert outcome.provider_ids["calls"] == 2
    first, second = model.requests
    assert second["messages"][: len(first["messages"])] == first["messages"]
    assert "read_file" in second["messages"][-2]["content"]
    assert "No tools" in second["messages"][-1]["content"]


def test_a_model_that_insists_on_tools_has_answered_nothing(model: FakeModel) -> None:
    model.always = sends(fixture("answer__tool_calls.json"))
    outcome = ask(model)
    assert (outcome.verdict, outcome.answer, len(model.requests)) == (D, None, 2)
    assert "read_file" in outcome.error
    assert outcome.provider_ids["prompt_tokens"] == 164


def test_a_parameter_of_another_name_is_used_where_the_endpoint_asks_for_it(
    model: FakeModel,
) -> None:
    model.script = [sends(fixture("error__openai_400_max_tokens.json"), 400)]
    outcome = ask(model, max_tokens=500)
    assert outcome.verdict == D
    assert [set(request) - {"model", "messages", "stream"} for request in model.requests] == [
        {"max_tokens"},
        {"max_completion_tokens"},
    ]


def test_an_endpoint_that_does_not_know_stream_options_is_asked_without(model: FakeModel) -> None:
    model.script = [sends(fixture("error__mistral_422_stream_options.json"), 422)]
    model.always = streams(fixture("stream__openai.txt"))
    assert ask(model, stream=True).verdict == D
    assert ["stream_options" in request for request in model.requests] == [True, False]


def test_an_endpoint_that_complains_for_ever_is_not_asked_for_ever(model: FakeModel) -> None:
    model.always = sends(fixture("error__openai_400_max_tokens.json"), 400)
    outcome = ask(model, max_tokens=500)
    assert (outcome.verdict, outcome.error_class, len(model.requests)) == (F, "client_error", 2)


def test_a_message_without_text_is_sent_as_it_is(model: FakeModel) -> None:
    unsaved(model).send(make_message(payload={"type": "form", "a": 1}, metadata={}))
    assert model.prompts == ['{"type":"form","a":1}']


def test_skills_stand_before_the_prompt(
    model: FakeModel, settings: Settings, tmp_path: Path
) -> None:
    settings.HERMES_HOME = str(tmp_path)
    folder = tmp_path / "skills" / "code-review"
    folder.mkdir(parents=True)
    (folder / "SKILL.md").write_text("---\nname: code-review\n---\nRead the diff twice.\n")
    message = make_message(
        payload={"type": "text", "text": "Review this."},
        metadata={"skills": ["code-review", "juggling"]},
    )
    outcome = unsaved(model).send(message)
    assert model.prompts == [
        '<skill name="code-review">\nRead the diff twice.\n</skill>\n\nReview this.'
    ]
    assert outcome.verdict == D
    assert "juggling" in outcome.error


@pytest.mark.parametrize("event_type", ["relation.established", "artifact_response"])
def test_what_is_no_message_is_not_sent(model: FakeModel, event_type: str) -> None:
    outcome = unsaved(model).send(make_message(event_type=event_type))
    assert (outcome.verdict, outcome.error_class) == (F, "skipped")
    assert model.requests == []


def test_an_agent_without_an_endpoint_keeps_its_messages(model: FakeModel) -> None:
    outcome = ask(model, model="")
    assert (outcome.verdict, outcome.error_class) == (R, "no_endpoint")
    assert model.requests == []


def test_what_an_attempt_keeps_holds_no_key(model: FakeModel) -> None:
    model.base_url += "?key=in-the-query"
    echo = f'{{"error": {{"message": "Incorrect API key provided: {KEY}"}}}}'
    model.always = sends(echo.encode(), 401)
    outcome = ask(model)
    for hidden in (KEY, "in-the-query"):
        assert hidden not in repr(outcome)
    assert "Authorization: ***" in outcome.request
    assert "/v1/chat/completions?***" in outcome.request
    assert "Review this." in outcome.request


def test_a_key_that_the_model_repeats_is_hidden_in_what_an_attempt_keeps(model: FakeModel) -> None:
    events = f'data: {{"choices":[{{"delta":{{"content":"{KEY}"}},"finish_reason":"stop"}}]}}\n\n'
    model.always = sends(events.encode(), content_type=EVENTS)
    assert KEY not in ask(model).response
