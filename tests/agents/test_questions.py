"""What a form of an agent may hold, and the form that a person fills in."""

from typing import Any

import pytest
from django.core.exceptions import ValidationError
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.questions import answer_form, check_question, in_words

CHOICE = {"name": "plan", "type": "choice", "label": "Which plan?", "options": ["a", "b"]}
EVERYTHING = [
    CHOICE | {"required": True},
    {"name": "why", "type": "text", "multiline": True, "max_length": 100, "help": "In short."},
    {"name": "sure", "type": "boolean", "label": "Are you sure?"},
    {"name": "count", "type": "number", "min": 1, "max": 5, "integer": True},
    {"name": "share", "type": "number"},
]


def question(fields: Any) -> dict[str, Any]:
    return check_question("Deploy?", "", fields)


def fill(fields: Any, **given: str) -> Any:
    form = answer_form(question(fields))(
        {f"answer-{k}": v for k, v in given.items()}, prefix="answer"
    )
    form.is_valid()
    return form


def test_a_question_is_kept_in_its_full_spelling() -> None:
    assert question(
        [{"name": "ok", "type": "choice", "options": ["yes", {"value": "n", "label": "No"}]}]
    ) == {
        "title": "Deploy?",
        "text": "",
        "fields": [
            {
                "name": "ok",
                "type": "choice",
                "label": "ok",
                "help": "",
                "required": False,
                "options": [{"value": "yes", "label": "yes"}, {"value": "n", "label": "No"}],
            }
        ],
    }


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        (None, "fields"),
        ([], "fields"),
        ({}, "fields"),
        ([CHOICE] * 21, "fields"),
        (["x"], "fields[0]"),
        ([{"name": "x"}], "fields[0].type"),
        ([{"name": "x", "type": "date"}], "fields[0].type"),
        ([{"name": "x", "type": ["text"]}], "fields[0].type"),
        ([{"type": "text"}], "fields[0].name"),
        ([{"name": "X", "type": "text"}], "fields[0].name"),
        ([{"name": "1x", "type": "text"}], "fields[0].name"),
        ([{"name": "x\n", "type": "text"}], "fields[0].name"),
        ([{"name": "x" * 41, "type": "text"}], "fields[0].name"),
        ([CHOICE, CHOICE], "fields[1].name"),
        ([CHOICE | {"options": []}], "fields[0].options"),
        ([CHOICE | {"options": "ab"}], "fields[0].options"),
        ([CHOICE | {"options": ["a", "a"]}], "fields[0].options"),
        ([CHOICE | {"options": ["a"] * 51}], "fields[0].options"),
        ([CHOICE | {"options": ["a", ""]}], "fields[0].options[1].value"),
        ([CHOICE | {"options": ["a", 1]}], "fields[0].options[1].value"),
        ([CHOICE | {"options": [{"value": "a", "extra": 1}]}], "fields[0].options[0].extra"),
        ([CHOICE | {"required": "yes"}], "fields[0].required"),
        ([CHOICE | {"label": 7}], "fields[0].label"),
        ([CHOICE | {"label": "x" * 201}], "fields[0].label"),
        ([CHOICE | {"label": "a\0b"}], "fields[0].label"),
        ([CHOICE | {"label": "\ud800"}], "fields[0].label"),
        ([CHOICE | {"min": 1}], "fields[0].min"),
        ([{"name": "x", "type": "text", "max_length": 0}], "fields[0].max_length"),
        ([{"name": "x", "type": "text", "max_length": True}], "fields[0].max_length"),
        ([{"name": "x", "type": "text", "multiline": 1}], "fields[0].multiline"),
        ([{"name": "x", "type": "number", "min": "1"}], "fields[0].min"),
        ([{"name": "x", "type": "number", "max": True}], "fields[0].max"),
        ([{"name": "x", "type": "number", "max": 1e300}], "fields[0].max"),
        ([{"name": "x", "type": "number", "min": 2, "max": 1}], "fields[0].min"),
    ],
)
def test_a_fault_is_named_with_its_place(fields: Any, place: str) -> None:
    with pytest.raises(ValidationError) as caught:
        question(fields)
    assert list(caught.value.message_dict) == [place]


@pytest.mark.parametrize(
    ("title", "text", "place"),
    [
        ("", "", "title"),
        (None, "", "title"),
        ("t" * 201, "", "title"),
        ("t", 7, "text"),
        ("t", "x" * 10_001, "text"),
    ],
)
def test_title_and_text_are_checked(title: Any, text: Any, place: str) -> None:
    with pytest.raises(ValidationError) as caught:
        check_question(title, text, [CHOICE])
    assert list(caught.value.message_dict) == [place]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["name", "type", "options", "label", "value", "min", "max", "x"]),
            inner | st.sampled_from(["choice", "text", "number", "boolean", "a"]),
            max_size=5,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None)
@given(JSON, JSON, JSON)
def test_whatever_is_sent_it_is_a_question_or_named_faults(
    title: Any, text: Any, fields: Any
) -> None:
    try:
        checked = check_question(title, text, fields)
    except ValidationError:
        return
    answer_form(checked)(prefix="answer").as_p()


def test_an_answer_has_a_value_of_the_right_type_for_each_field() -> None:
    form = fill(EVERYTHING, plan="a", why="小心", sure="on", count="3", share="0.5")
    assert form.cleaned_data == {
        "plan": "a",
        "why": "小心",
        "sure": True,
        "count": 3,
        "share": 0.5,
    }


def test_what_was_left_out_is_empty() -> None:
    assert fill(EVERYTHING, plan="b").cleaned_data == {
        "plan": "b",
        "why": "",
        "sure": False,
        "count": None,
        "share": None,
    }


@pytest.mark.parametrize(
    ("given", "wrong"),
    [
        ({}, "plan"),
        ({"plan": "c"}, "plan"),
        ({"plan": "a", "why": "x" * 101}, "why"),
        ({"plan": "a", "why": "a\0b"}, "why"),
        ({"plan": "a", "count": "6"}, "count"),
        ({"plan": "a", "count": "1.5"}, "count"),
        ({"plan": "a", "count": "many"}, "count"),
        ({"plan": "a", "share": "nan"}, "share"),
        ({"plan": "a", "share": "1e999"}, "share"),
    ],
)
def test_a_wrong_answer_names_its_field(given: dict[str, str], wrong: str) -> None:
    assert list(fill(EVERYTHING, **given).errors) == [wrong]


def test_a_choice_that_is_not_needed_can_be_left_open() -> None:
    assert fill([CHOICE]).cleaned_data == {"plan": ""}


@pytest.mark.parametrize("name", ["csrfmiddlewaretoken", "data", "prefix", "is_valid", "decision"])
def test_no_name_of_a_field_gets_in_the_way_of_the_page(name: str) -> None:
    form = fill([{"name": name, "type": "text"}], **{name: "fine"})
    assert form.cleaned_data == {name: "fine"}


def test_markup_of_an_agent_is_text_on_every_page() -> None:
    evil = "<script>alert(1)</script>"
    field = {"name": "x", "type": "choice", "label": evil, "help": evil, "options": [evil]}
    form = answer_form(question([field]))(prefix="answer")
    assert "<script>" not in form.as_p()
    assert "<script>" not in str(form["x"].help_text)


def test_an_answer_is_told_in_the_words_that_the_person_saw() -> None:
    asked = question([CHOICE | {"options": [{"value": "a", "label": "Plan A"}]}, *EVERYTHING[2:4]])
    answer = {"plan": "a", "sure": True, "count": None}
    assert in_words(asked, answer) == [
        ("Which plan?", "Plan A"),
        ("Are you sure?", "yes"),
        ("count", "–"),
    ]
