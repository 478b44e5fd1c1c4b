"""`.env.example`, settings.py and docs/settings.md name the same settings in the same order."""

import ast
import re

import pytest
from django.conf import settings

# It names the file that the others are read from, and so can't stand in it.
ONLY_IN_THE_ENVIRONMENT = "HERMES_ENV_FILE"


def in_settings() -> list[str]:
    tree = ast.parse((settings.BASE_DIR / "hermes_site/settings.py").read_text())
    calls = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == "env"
    ]
    calls.sort(key=lambda call: (call.lineno, call.col_offset))
    return [ast.literal_eval(call.args[0]) for call in calls]


def in_example() -> list[str]:
    text = (settings.BASE_DIR / ".env.example").read_text()
    return re.findall(r"^#([A-Z][A-Z0-9_]*)=", text, re.MULTILINE)


def in_docs() -> list[str]:
    text = (settings.BASE_DIR / "docs/settings.md").read_text()
    return re.findall(r"^\| `([A-Z][A-Z0-9_]*)` \|", text, re.MULTILINE)


def test_the_docs_name_every_setting_in_the_order_of_settings_py() -> None:
    assert in_docs() == in_settings()


def test_the_example_names_every_setting_in_the_order_of_settings_py() -> None:
    assert in_example() == [name for name in in_settings() if name != ONLY_IN_THE_ENVIRONMENT]


def test_no_setting_is_read_twice() -> None:
    assert len(in_settings()) == len(set(in_settings()))


@pytest.mark.parametrize("name", ["WEBHOOK_ENABLED", "WEBHOOK_SECRET"])
def test_the_example_leaves_a_line_for_setup_to_fill_in(name: str) -> None:
    assert in_example().count(name) == 1
