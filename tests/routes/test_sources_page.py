"""docs/sources.md says what the records of the sources say."""

from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from routes.management.commands import sources_table
from routes.management.sources_page import END, START, page
from routes.presets import Preset, presets

TEXT = sources_table.PAGE.read_text()


def test_the_page_is_up_to_date() -> None:
    assert page(TEXT) == TEXT, "docs/sources.md is stale: run `python manage.py sources_table`"


@pytest.mark.parametrize("preset", presets().values(), ids=lambda preset: preset.name)
def test_each_source_has_a_row_and_a_line(preset: Preset) -> None:
    assert f"\n| `{preset.name}` | {preset.label} |" in TEXT
    assert f"\n- **{preset.label}** (" in TEXT


def test_the_command_writes_the_page_and_leaves_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "sources.md"
    copy.write_text(f"before\n{START}\nstale\n{END}\nafter\n")
    monkeypatch.setattr(sources_table, "PAGE", copy)
    with pytest.raises(CommandError, match=r"manage\.py sources_table"):
        call_command("sources_table", check=True)
    call_command("sources_table")
    assert copy.read_text().startswith("before\n")
    assert copy.read_text().endswith("\nafter\n")
    assert "stale" not in copy.read_text()
    call_command("sources_table", check=True)


def test_a_page_without_its_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="sources: begin"):
        page("no marks")
