"""Prompts and targets (spec 001, prompt templates; facts/hermes-agent.md §7)."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routes.rendering import CUT, dump
from routes.templating import RAW_LIMIT, VALUE_LIMIT, compile_template, render_target

from .samples import payload_of

PULL_REQUEST = """\
Review this pull request:
Repository: {repository.full_name}
PR #{number}: {pull_request.title}
Author: {pull_request.user.login}
URL: {pull_request.html_url}
Diff URL: {pull_request.diff_url}
Action: {action}
"""

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=30,
)


def render(template: str, payload: object, event: str = "push") -> str:
    return compile_template(template).render(payload, event, "deploys")


class TestExamplesOfTheSpecification:
    def test_pull_request(self) -> None:
        assert render(PULL_REQUEST, payload_of("github/pull_request__opened")) == (
            "Review this pull request:\n"
            "Repository: acme/storefront\n"
            "PR #1347: Keep the cart when a guest signs in – 保留购物车\n"
            "Author: octocat\n"
            "URL: https://github.com/acme/storefront/pull/1347\n"
            "Diff URL: https://github.com/acme/storefront/pull/1347.diff\n"
            "Action: opened\n"
        )

    def test_merge_request(self) -> None:
        template = (
            "{project.path_with_namespace} !{object_attributes.iid}: {object_attributes.title} "
            "by {object_attributes.last_commit.author.name} {object_attributes.action}"
        )
        assert render(template, payload_of("gitlab/merge_request__open")) == (
            "shop/storefront !31: Sum the cart on the server – 服务器端合计 by Lin Wei open"
        )

    def test_push(self) -> None:
        template = "New push to {repository.full_name} branch {ref}: {head_commit.message}"
        assert render(template, payload_of("github/push")) == (
            "New push to acme/storefront branch refs/heads/main: "
            "Merge the guest cart at sign-in (#1347)"
        )

    def test_target(self) -> None:
        extra = {"repo": "{repository.full_name}", "pr_number": "{number}"}
        payload = payload_of("github/pull_request__opened")
        assert render_target(extra, payload, "pull_request") == {
            "repo": "acme/storefront",
            "pr_number": "1347",
        }


@pytest.mark.parametrize(
    ("template", "payload", "expected"),
    [
        ("{a}", {"a": "x"}, "x"),
        ("{a.b.c}", {"a": {"b": {"c": "x"}}}, "x"),
        ("{a}{b}", {"a": "x", "b": "y"}, "xy"),
        ("no placeholder", {"a": "x"}, "no placeholder"),
        (" ", {"a": "x"}, " "),
        # what is missing stays as it was written
        ("{a}", {}, "{a}"),
        ("{a.b}", {"a": {}}, "{a.b}"),
        ("{a.b}", {"a": "text"}, "{a.b}"),
        ("{a.b}", {"a": 5}, "{a.b}"),
        ("{a.b}", {"a": None}, "{a.b}"),
        ("{a.b}", {"a": [{"b": 1}]}, "{a.b}"),
        ("{a}", [], "{a}"),
        ("{a}", "text", "{a}"),
        ("{a}", None, "{a}"),
        # what is no placeholder stays as well
        ("{ a }", {" a ": "x"}, "{ a }"),
        ("{a-b}", {"a-b": "x"}, "{a-b}"),
        ("{a[0]}", {"a": ["x"]}, "{a[0]}"),
        ("{}", {"": "x"}, "{}"),
        ("{中文}", {"中文": "x"}, "{中文}"),
        ("{a", {"a": "x"}, "{a"),
        ("%s $a \\n {{", {"a": "x"}, "%s $a \\n {{"),
        ("{{a}}", {"a": "x"}, "{x}"),
        ("{a.}", {"a": {"": "x"}}, "x"),
        ("{.a}", {"": {"a": "x"}}, "x"),
        ("{payload}", {"payload": "x"}, "x"),
        ("{payload}", {}, "{payload}"),
        ("{__raw__.x}", {"__raw__": {"x": "y"}}, "y"),
        # lists, by position
        ("{a.0}", {"a": ["x"]}, "x"),
        ("{a.1.b}", {"a": [0, {"b": "x"}]}, "x"),
        ("{0.b}", [{"b": "x"}], "x"),
        ("{a.1}", {"a": ["x"]}, "{a.1}"),
        ("{a.00}", {"a": ["x"]}, "{a.00}"),
        ("{a.0}", {"a": {"0": "x"}}, "x"),
        ("{a.99999999999999999999}", {"a": ["x"]}, "{a.99999999999999999999}"),
        # values
        ("{a}", {"a": ""}, ""),
        ("{a}", {"a": 0}, "0"),
        ("{a}", {"a": 1.0}, "1.0"),
        ("{a}", {"a": 12345678901234567890123}, "12345678901234567890123"),
        ("{a}", {"a": True}, "true"),
        ("{a}", {"a": False}, "false"),
        ("{a}", {"a": None}, "null"),
        ("{a}", {"a": {}}, "{}"),
        ("{a}", {"a": []}, "[]"),
        ("{a}", {"a": {"b": ["值", None]}}, '{\n  "b": [\n    "值",\n    null\n  ]\n}'),
        ("{__raw__}", {"a": 1}, '{\n  "a": 1\n}'),
        # the event; it shadows a key of its name
        ("{event_type}", {"event_type": "other"}, "push"),
        # one pass: a value is never a template
        ("{a} {b}", {"a": "{b}", "b": "{secret} {a}"}, "{b} {secret} {a}"),
        ("{{a}}", {"a": "b", "b": "x"}, "{b}"),
    ],
)
def test_rendering(template: str, payload: object, expected: str) -> None:
    assert render(template, payload) == expected


class TestEmptyPrompt:
    def test_it_stands_for_the_whole_payload(self) -> None:
        assert render("", {"a": 1}) == (
            "Webhook event 'push' on route 'deploys':\n\n```json\n{\n  \"a\": 1\n}\n```"
        )

    def test_the_frame_is_not_counted(self) -> None:
        text = render("", {"a": "x" * 5000})
        dumped = text.removeprefix("Webhook event 'push' on route 'deploys':\n\n```json\n")
        assert len(dumped.removesuffix("\n```")) == RAW_LIMIT


class TestLimits:
    @pytest.mark.parametrize(
        ("template", "limit"), [("{__raw__}", RAW_LIMIT), ("{a}", VALUE_LIMIT)]
    )
    def test_a_long_value_is_cut_and_says_so(self, template: str, limit: int) -> None:
        payload = {"a": {"名": "值" * 5000}}
        whole = json.dumps(
            payload if template == "{__raw__}" else payload["a"], indent=2, ensure_ascii=False
        )
        text = render(template, payload)
        assert len(text) == limit
        assert text == whole[: limit - 1] + CUT

    @pytest.mark.parametrize(
        ("template", "limit"), [("{__raw__}", RAW_LIMIT), ("{a}", VALUE_LIMIT)]
    )
    def test_a_value_of_just_the_limit_is_whole(self, template: str, limit: int) -> None:
        frame = len(json.dumps({"a": [""]} if template == "{__raw__}" else [""], indent=2))
        text = render(template, {"a": ["x" * (limit - frame)]})
        assert len(text) == limit
        assert CUT not in text
        assert len(render(template, {"a": ["x" * (limit - frame + 1)]})) == limit

    def test_text_is_not_cut(self) -> None:
        assert render("{a}", {"a": "x" * 10_000}) == "x" * 10_000

    def test_a_depth_bomb_is_cut_like_anything_else(self) -> None:
        bomb: Any = "x"
        for _ in range(50_000):
            bomb = [bomb]
        try:
            assert len(render("{__raw__}", bomb)) == RAW_LIMIT
            assert len(render("{0}", bomb)) == VALUE_LIMIT
        finally:
            while isinstance(bomb, list):  # taken apart by hand: freeing it at once may overflow
                bomb = bomb.pop()

    def test_a_huge_payload_costs_no_more_than_is_kept(self) -> None:
        class Endless(dict[str, object]):
            """An object of which no more than a few hundred fields may be asked."""

            def __bool__(self) -> bool:
                return True

            def items(self) -> Any:
                for number in range(RAW_LIMIT):
                    yield f"field{number}", number
                raise AssertionError("read to the end")

        assert len(render("{__raw__}", Endless())) == RAW_LIMIT


@given(value=JSON, limit=st.integers(min_value=1, max_value=300))
def test_a_dump_is_the_one_of_json_cut(value: object, limit: int) -> None:
    whole = json.dumps(value, indent=2, ensure_ascii=False)
    expected = whole if len(whole) <= limit else whole[: limit - 1] + CUT
    assert dump(value, limit) == expected


@given(template=st.text(alphabet="{}ab.0_ é"), payload=JSON)
def test_what_is_rendered_can_always_be_stored(template: str, payload: object) -> None:
    text = render(template, payload)
    text.encode()
    assert "\0" not in text


def test_half_a_character_and_nul_are_replaced() -> None:
    assert render("{a}{b}", {"a": "\ud800", "b": "\0"}) == "\ufffd\ufffd"


def test_placeholders_are_named_in_order() -> None:
    template = compile_template("{b} {a.0} {__raw__} { no } {b}")
    assert template.placeholders == ("b", "a.0", "__raw__", "b")


class TestTargets:
    @pytest.mark.parametrize(
        ("extra", "expected"),
        [
            ({"chat_id": "-100123"}, {"chat_id": "-100123"}),
            ({"chat_id": "{chat}"}, {"chat_id": "42"}),
            ({"chat_id": "room-{chat}"}, {"chat_id": "room-42"}),
            ({"topic": "{event_type}"}, {"topic": "push"}),
            # a home is better than a chat of this name
            ({"chat_id": ""}, {}),
            ({"chat_id": "  "}, {}),
            ({"chat_id": "{missing}"}, {}),
            ({"chat_id": "room-{missing}"}, {}),
            ({"chat_id": "{empty}"}, {}),
            ({"chat_id": None}, {}),
            # what is not text is not rendered
            ({"thread": 42, "on": True}, {"thread": 42, "on": True}),
            ({"nested": {"a": "{chat}"}}, {"nested": {"a": "{chat}"}}),
            ({"list": ["{chat}"]}, {"list": ["{chat}"]}),
            ({}, {}),
        ],
    )
    def test_texts_are_rendered_and_the_rest_is_copied(
        self, extra: dict[str, Any], expected: dict[str, Any]
    ) -> None:
        payload = {"chat": 42, "empty": ""}
        assert render_target(extra, payload, "push") == expected
