"""docs/{routes,templates,custom-schemes,migration}.md say what the code does."""

import json
import re
from pathlib import Path

import pytest
import yaml
from django.core.management.base import CommandParser

from platforms.home_channels import platform_variables
from routes import checks
from routes.config_entries import UNSUPPORTED, read_entry
from routes.management.flags import REFUSED, add_flags
from routes.presets import custom
from routes.presets.custom import custom_preset
from routes.samples import sample, signed_request
from routes.signatures import Refused, Verified, Verifier
from routes.templating import compile_template

DOCS = Path(__file__).resolve().parent.parent.parent / "docs"
ROUTES = (DOCS / "routes.md").read_text()
TEMPLATES = (DOCS / "templates.md").read_text()
SCHEMES = (DOCS / "custom-schemes.md").read_text()
MIGRATION = (DOCS / "migration.md").read_text()
NOW = 1_700_000_000.0
EXAMPLES = re.findall(r"^\| `(.+)` \| `(.+)` \|$", TEMPLATES, re.MULTILINE)


def fenced(text: str, language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", text, re.DOTALL)
    assert found
    return found[1]


@pytest.mark.parametrize(("template", "expected"), EXAMPLES)
def test_every_example_of_a_template_is_true(template: str, expected: str) -> None:
    payload = json.loads(fenced(TEMPLATES, "json"))
    assert compile_template(template).render(payload, "alert") == expected


def test_every_check_is_listed() -> None:
    ids = set(re.findall(r'id="(routes\.\w+)"', Path(checks.__file__).read_text()))
    assert set(re.findall(r"`(routes\.[EW]\d+)`", ROUTES)) == ids


def test_the_example_of_a_file_is_a_good_one_and_every_property_is_listed() -> None:
    webhook = yaml.safe_load(fenced(ROUTES, "yaml"))["platforms"]["webhook"]
    entry = read_entry("github-pr", webhook["extra"]["routes"]["github-pr"])
    assert entry.notes == ()
    properties = ROUTES.partition("## Properties")[2].partition("```")[0]
    listed = set(re.findall(r"^\| `(\w+)` \|", properties, re.MULTILINE))
    assert listed == entry.fields.keys() - {"insecure_no_auth", "fan_out"} | {"secret", "agent"}


def test_every_flag_of_subscribe_is_listed() -> None:
    parser = CommandParser()
    add_flags(parser)
    flags = {flag for action in parser._actions for flag in action.option_strings}
    commands = ROUTES.partition("## On the command line")[2]
    assert set(re.findall(r"`(--[\w-]+)`", commands)) == {
        *flags - REFUSED.keys() - {"-h", "--help"},
        *("--event", "--payload", "--wait"),
    }


@pytest.mark.parametrize("example", re.findall(r"```yaml\n(.*?)```", SCHEMES, re.DOTALL))
def test_every_example_of_a_custom_scheme_lets_in_what_is_signed_so(example: str) -> None:
    scheme = yaml.safe_load(example)
    if "routes" in scheme:
        entry = read_entry("acme", scheme["routes"]["acme"])
        assert entry.notes == ()
        scheme, secret = entry.fields["custom_scheme"], entry.secret or ""
    else:
        secret = "a secret of this test"
    preset = custom_preset(scheme)
    url = "https://hermes.example.com/webhooks/acme"
    request = signed_request(preset, secret, sample("custom"), url, NOW)
    found = Verifier(preset, [secret]).verify(request.headers, request.body, NOW)
    assert isinstance(found, Verified)
    altered = {name: value for name, value in request.headers.items() if name != preset.header}
    assert isinstance(Verifier(preset, [secret]).verify(altered, request.body, NOW), Refused)


def test_every_field_of_a_custom_scheme_is_listed() -> None:
    fields = SCHEMES.partition("## Fields")[2]
    known = custom._ANY | custom._PLACES | custom._OF_SIGNING
    listed = set(re.findall(r"^\| `(\w+)` \|", fields, re.MULTILINE))
    # `query` and `path` are told beside the header, whose place they take.
    assert listed == known - {"query", "path"} | {"scheme"}


def test_the_variables_of_every_platform_are_listed() -> None:
    rows = re.findall(r"^\| `(\w+)` \|(.*)\|$", MIGRATION, re.MULTILINE)
    listed = {kind: set(re.findall(r"`([A-Z_]+)`", text)) for kind, text in rows}
    for kind, variables in platform_variables().items():
        used = {name for names in variables.config.values() for name in names}
        used |= {name for names in variables.home.values() for name in names}
        if kind in listed:
            assert listed[kind] == used | set(variables.needed)
        else:
            assert set(variables.needed) <= set(re.findall(r"`([A-Z_]+)`", MIGRATION))


@pytest.mark.parametrize("key", UNSUPPORTED)
def test_what_is_not_supported_of_a_home_is_told(key: str) -> None:
    assert f"`{key}`" in MIGRATION or key == "retry_on_script_failure"
