import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
from django.core.exceptions import ImproperlyConfigured

from platforms import registry
from platforms.sender import Sender

DOCS = Path(__file__).parents[2] / "docs" / "platforms"
INDEX = DOCS.with_suffix(".md")
HEADINGS = ["What you need", "Set up", "Fields", "Limits", "When it fails"]
SENDER = """
from platforms.sender import Check, Sender
from deliveries.outcomes import Outcome

class {name}(Sender):
    kind = "{kind}"
    def send(self, message):
        return Outcome.delivered()
    def check(self):
        return Check(True, "")
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    folder = tmp_path / "somewhere"
    folder.mkdir()
    (folder / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.partition(".")[0] == "somewhere"]:
        monkeypatch.delitem(sys.modules, name)
    import somewhere  # type: ignore[import-not-found]

    assert isinstance(somewhere, ModuleType)
    return somewhere


def put(package: ModuleType, file: str, kind: str) -> None:
    source = SENDER.format(name=file.title(), kind=kind)
    (Path(package.__path__[0]) / f"{file}.py").write_text(source)


def test_a_sender_is_found_by_being_a_file(package: ModuleType) -> None:
    put(package, "smoke", "smoke_signals")
    assert list(registry.find(package)) == ["smoke_signals"]


def test_two_senders_of_one_kind_are_refused(package: ModuleType) -> None:
    put(package, "one", "same")
    put(package, "two", "same")
    with pytest.raises(ImproperlyConfigured, match=r"somewhere\.two.*somewhere\.one.*'same'"):
        registry.find(package)


def test_the_first_four_are_there() -> None:
    assert {"log", "webhook", "telegram", "github_comment"} <= set(registry.senders())


@pytest.mark.parametrize("kind", registry.senders())
def test_every_sender_can_be_described(kind: str) -> None:
    sender = registry.senders()[kind]
    assert sender.kind == kind
    assert sender.max_length > 0
    for text in (sender.label, sender.summary, sender.check_calls):
        assert str(text)


@pytest.mark.parametrize("kind", registry.senders())
def test_every_sender_has_its_page_under_the_same_headings(kind: str) -> None:
    page = (DOCS / f"{kind}.md").read_text()
    assert re.findall(r"^## (.+)$", page, re.MULTILINE) == HEADINGS


@pytest.mark.parametrize("kind", registry.senders())
def test_the_page_names_every_field(kind: str) -> None:
    sender: type[Sender] = registry.senders()[kind]
    page = (DOCS / f"{kind}.md").read_text()
    for field in (*sender.Config.base_fields, *sender.Home.base_fields):
        assert f"`{field}`" in page


@pytest.mark.parametrize("kind", registry.senders())
def test_the_index_says_of_every_platform_what_its_sender_says(kind: str) -> None:
    sender = registry.senders()[kind]
    limit = f"{sender.max_length:,} {sender.unit.value}"
    row = f"| [{sender.label}](platforms/{kind}.md) | `{kind}` | {sender.summary} | {limit} |"
    assert row in INDEX.read_text().splitlines(), f"{INDEX.name} lacks the line:\n{row}"


def test_the_index_lists_no_platform_that_there_is_not() -> None:
    listed = re.findall(r"^\| \[.+?\]\(platforms/(\w+)\.md\)", INDEX.read_text(), re.MULTILINE)
    assert sorted(listed) == [*registry.senders()]
