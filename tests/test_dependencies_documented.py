"""docs/dependencies.md gives a reason for every direct dependency, and for no other."""

import re

import pytest
from django.conf import settings


def required(file: str) -> set[str]:
    lines = (settings.BASE_DIR / file).read_text().splitlines()
    names = (re.split(r"[<>=!~;\s]", line)[0] for line in lines)
    return {name.lower() for name in names if name and not name.startswith(("#", "-"))}


def reasoned(heading: str) -> set[str]:
    text = (settings.BASE_DIR / "docs/dependencies.md").read_text()
    (section,) = (part for part in text.split("\n## ") if part.startswith(heading))
    firsts = re.findall(r"^\| (`.*?) \|", section, re.MULTILINE)
    return {name.lower() for first in firsts for name in re.findall(r"`([^`]+)`", first)}


@pytest.mark.parametrize(
    ("file", "heading"),
    [("requirements.in", "To run"), ("requirements-dev.in", "To develop")],
)
def test_every_direct_dependency_has_a_reason(file: str, heading: str) -> None:
    assert reasoned(heading) == required(file)
