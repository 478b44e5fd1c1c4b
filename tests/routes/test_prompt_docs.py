"""docs/filters.md and what docs/templates.md says of fences, held to the code."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from routes.conversation_keys import MAX_CHARACTERS, conversation_key
from routes.fencing import Fence
from routes.filter_operators import MAX_SEARCHED, OPERATORS
from routes.filters import FilterError, compile_filters
from routes.lint import misspellings
from routes.templating import compile_template

DOCS = Path(__file__).resolve().parent.parent.parent / "docs"
FILTERS = (DOCS / "filters.md").read_text()
TEMPLATES = (DOCS / "templates.md").read_text()
HEADERS = {"x-github-event": "pull_request"}


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


EVENT: dict[str, Any] = json.loads(blocks(FILTERS, "json")[0])
EXAMPLES = blocks(FILTERS, "yaml")


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_example_of_a_filter_lets_the_example_through(example: str) -> None:
    assert compile_filters(yaml.safe_load(example)).match(EVENT, "pull_request", HEADERS)


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_example_of_a_filter_also_holds_something_back(example: str) -> None:
    bot = {"pull_request": {"draft": True, "head": {"ref": "renovate/django"}}, "issue": {}}
    assert not compile_filters(yaml.safe_load(example)).match(bot, "issues", {})


def test_the_example_of_a_command_line_is_a_filter() -> None:
    found = re.search(r"--filter '(.*)'", FILTERS)
    assert found
    assert compile_filters(json.loads(found[1])).match(EVENT, "pull_request", {})


def test_every_operator_is_listed() -> None:
    table = FILTERS.partition("| operator |")[2].partition("\n\n")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == ["all", "any", "not", *OPERATORS]


def test_what_filters_refuse_is_named() -> None:
    for word in ("in_file", "script"):
        with pytest.raises(FilterError):
            compile_filters({"field": "a", word: "x"})
        assert f"`{word}`" in FILTERS


def test_the_limits_are_told() -> None:
    assert f"first {MAX_SEARCHED} characters" in FILTERS
    assert f"more than {MAX_CHARACTERS} characters" in TEMPLATES


def test_the_example_of_a_fence_is_true() -> None:
    payload = json.loads(blocks(TEMPLATES, "json")[0])
    prompt, expected = blocks(TEMPLATES, "text")
    text = compile_template(prompt).render(payload, "alert", "alerts", Fence("Grafana"))
    assert text == expected


def test_the_example_of_a_conversation_key_is_one() -> None:
    found = re.search(r"template, too: `(.*)`", TEMPLATES)
    assert found
    payload = {"repository": EVENT["repository"], "number": EVENT["number"]}
    key = conversation_key(compile_template(found[1]), payload, "pull_request")
    assert key == "acme/storefront#1347"


@pytest.mark.parametrize(
    ("token", "spelling"),
    [
        ("{ title }", "{title}"),
        ("{{title}}", "{title}"),
        ("{$.title}", "{title}"),
        ("{alerts[0].labels}", "{alerts.0.labels}"),
        ("{content-type}", ""),
    ],
)
def test_the_examples_of_misspellings_are_found(token: str, spelling: str) -> None:
    assert f"`{token}`" in TEMPLATES.partition("## What a template lacks")[2]
    assert misspellings(token) == {token: spelling}
