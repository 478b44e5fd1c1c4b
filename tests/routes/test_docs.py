"""docs/routes.md and docs/templates.md say what the code does."""

import json
import re
from pathlib import Path

import pytest
import yaml

from routes import checks
from routes.config_entries import read_entry
from routes.presets import presets
from routes.templating import compile_template

DOCS = Path(__file__).resolve().parent.parent.parent / "docs"
ROUTES = (DOCS / "routes.md").read_text()
TEMPLATES = (DOCS / "templates.md").read_text()
EXAMPLES = re.findall(r"^\| `(.+)` \| `(.+)` \|$", TEMPLATES, re.MULTILINE)


def fenced(text: str, language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", text, re.DOTALL)
    assert found
    return found[1]


@pytest.mark.parametrize(("template", "expected"), EXAMPLES)
def test_every_example_of_a_template_is_true(template: str, expected: str) -> None:
    payload = json.loads(fenced(TEMPLATES, "json"))
    assert compile_template(template).render(payload, "alert") == expected


def test_the_sources_are_listed_in_the_order_of_recognition() -> None:
    table = ROUTES.partition("## Sources")[2].partition("| --- |")[2]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == list(presets())


def test_every_check_is_listed() -> None:
    ids = set(re.findall(r'id="(routes\.\w+)"', Path(checks.__file__).read_text()))
    assert set(re.findall(r"`(routes\.[EW]\d+)`", ROUTES)) == ids


def test_the_example_of_a_file_is_a_good_one_and_every_property_is_listed() -> None:
    webhook = yaml.safe_load(fenced(ROUTES, "yaml"))["platforms"]["webhook"]
    entry = read_entry("github-pr", webhook["extra"]["routes"]["github-pr"])
    assert entry.unknown_keys == ()
    properties = ROUTES.partition("## Properties")[2].partition("```")[0]
    listed = set(re.findall(r"^\| `(\w+)` \|", properties, re.MULTILINE))
    assert listed == entry.fields.keys() - {"insecure_no_auth"} | {"secret"}
