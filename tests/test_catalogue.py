"""The Chinese catalogue: nothing that people read is left in English."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from django.utils.translation import gettext, override
from django.utils.translation.template import templatize

ROOT = Path(__file__).resolve().parent.parent
CATALOGUE = ROOT / "locale" / "zh_Hans" / "LC_MESSAGES" / "django.po"
HOW = (
    "manage.py makemessages -l zh_Hans --no-location --no-wrap -i .venv -i tests -i bench "
    "-i agent_sdk; translate; manage.py compilemessages -l zh_Hans"
)
APPS = ("agents", "deliveries", "hermes_site", "platforms", "routes", "vault")
MARKS = {"_", "gettext", "gettext_lazy", "gettext_noop", "ngettext", "ngettext_lazy"}
PLACEHOLDER = re.compile(r"%\([a-z_0-9]+\)[a-z]|\{[a-z_.0-9]*\}")
# As Django writes what it finds in a template.
CALL = re.compile(r"n?gettext\(u?('(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\")")
ENTRY = re.compile(
    r'^msgid (?P<id>(?:"[^\n]*"\n)+)(?:msgid_plural (?P<many>(?:"[^\n]*"\n)+))?'
    r'msgstr(?:\[0\])? (?P<text>(?:"[^\n]*"(?:\n|$))+)',
    re.MULTILINE,
)


def _joined(lines: str) -> str:
    return "".join(ast.literal_eval(line) for line in lines.strip().splitlines())


@cache
def entries() -> dict[str, str]:
    found = ENTRY.finditer(CATALOGUE.read_text())
    return {_joined(one["id"]): _joined(one["text"]) for one in found if _joined(one["id"])}


@cache
def plurals() -> dict[str, str]:
    found = ENTRY.finditer(CATALOGUE.read_text())
    return {_joined(one["id"]): _joined(one["many"]) for one in found if one["many"]}


def _in_python(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call) or not node.args:
            continue
        name = getattr(node.func, "id", getattr(node.func, "attr", ""))
        text = node.args[0].value if isinstance(node.args[0], ast.Constant) else None
        if name in MARKS and isinstance(text, str):
            yield text


def texts(path: Path) -> set[str]:
    source = path.read_text()
    if path.suffix == ".py":
        return set(_in_python(source))
    calls = re.finditer(
        r"n?gettext\(u?('(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\")", templatize(source)
    )
    return {ast.literal_eval(call[1]) for call in calls}


def files() -> list[Path]:
    code = [path for app in APPS for path in (ROOT / app).rglob("*.py")]
    return sorted(p for p in code if "migrations" not in p.parts) + sorted(
        (ROOT / "templates").rglob("*.html")
    )


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_text_of_a_file_is_in_the_catalogue(path: Path) -> None:
    missing = {text for text in texts(path) if text.strip()} - entries().keys()
    assert not missing, HOW


def test_every_entry_is_translated() -> None:
    assert not [text for text, chinese in entries().items() if not chinese.strip()]


def test_every_translation_keeps_the_placeholders() -> None:
    def of(text: str) -> set[str]:
        return set(PLACEHOLDER.findall(text))

    # Of a text in singular and plural, the plural has the number.
    assert not [
        text for text, chinese in entries().items() if of(chinese) != of(plurals().get(text, text))
    ]


def test_the_compiled_catalogue_is_of_the_present_one() -> None:
    with override("zh-hans"):
        stale = [text for text, chinese in entries().items() if gettext(text) != chinese]
    assert not stale, HOW
