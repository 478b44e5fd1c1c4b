"""docs/adding-a-platform.md shows the code as it is."""

import re
from pathlib import Path

from django.conf import settings

ROOT = Path(settings.BASE_DIR)
PAGE = (ROOT / "docs/adding-a-platform.md").read_text()
EXERCISE = PAGE.partition("## One, whole")[2]


def test_the_exercise_is_quoted_as_it_stands() -> None:
    sender, table = re.findall(r"```python\n(.*?)```", EXERCISE, re.DOTALL)
    assert sender == (ROOT / "platforms/senders/ntfy.py").read_text()
    assert table in (ROOT / "tests/platforms/test_ntfy.py").read_text()


def test_its_files_are_as_long_as_is_said() -> None:
    for path, lines in re.findall(r"^ (\S+ntfy\S+) +\| +(\d+) ", EXERCISE, re.MULTILINE):
        assert len((ROOT / path).read_text().splitlines()) == int(lines)


def test_every_piece_is_one() -> None:
    for module, name in re.findall(r"`([a-z_]+)\.(\w+)(?:\(|`)", PAGE.partition("## The rules")[0]):
        if (file := ROOT / "platforms" / f"{module}.py").exists():
            assert re.search(rf"^(?:def|class) {name}\b|    def {name}\b", file.read_text(), re.M)
    shared = {"pacing", "places", "incoming", "tokens", "coded", "plain", "mrkdwn", "markup"}
    assert {one for one in shared if f"`{one}" in PAGE} == shared
