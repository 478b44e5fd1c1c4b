"""Skills of the Hermes home."""

import os
from pathlib import Path

import pytest
from pytest_django import Settings

from agents.skills import MOST_SKILLS, SKILL_LIMIT, Skill, load_skills, with_skills


@pytest.fixture
def folder(settings: Settings, tmp_path: Path) -> Path:
    settings.HERMES_HOME = str(tmp_path / "home")
    skills = tmp_path / "home" / "skills"
    skills.mkdir(parents=True)
    return skills


def write(folder: Path, name: str, text: str) -> Path:
    (folder / name).mkdir(parents=True)
    file = folder / name / "SKILL.md"
    file.write_text(text)
    return file


def test_a_skill_is_its_text_without_front_matter(folder: Path) -> None:
    write(folder, "review", "---\nname: review\nversion: 1\n---\n\n# Review\n\n---\nRead twice.\n")
    assert load_skills(["review"]) == (
        [Skill("review", "# Review\n\n---\nRead twice.")],
        [],
    )


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("Read twice.", "Read twice."),
        ("\ufeff---\r\nname: x\r\n---\r\nRead twice.\r\n", "Read twice."),
        ("---\nnever closed\nRead twice.", "---\nnever closed\nRead twice."),
        ("Say ---\nname\n---\n", "Say ---\nname\n---"),
    ],
)
def test_what_is_no_front_matter_stays(folder: Path, written: str, text: str) -> None:
    write(folder, "review", written)
    assert load_skills(["review"])[0] == [Skill("review", text)]


def test_a_skill_is_found_in_its_category_with_and_without_its_name(folder: Path) -> None:
    write(folder, "github/review", "Read twice.")
    found, missing = load_skills(["review", "github/review"])
    assert [skill.text for skill in found] == ["Read twice.", "Read twice."]
    assert missing == []


def test_skills_come_in_the_order_of_their_names_and_each_once(folder: Path) -> None:
    write(folder, "b", "B")
    write(folder, "a", "A")
    found, missing = load_skills(["b", "gone", "a", "b"])
    assert [skill.name for skill in found] == ["b", "a"]
    assert missing == ["gone"]


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../secret", "a/../../secret", "/etc", "a/b/c", "a\0b", "a\\b", "*", "x" * 300],
)
def test_a_name_that_leads_elsewhere_is_missing(folder: Path, name: str) -> None:
    write(folder.parent, "secret", "hunter2")
    write(folder, "a/b/c", "deep")
    assert load_skills([name]) == ([], [name])


def test_a_link_that_leads_outside_is_not_followed(folder: Path, tmp_path: Path) -> None:
    outside = write(tmp_path, "outside", "hunter2")
    (folder / "linked").symlink_to(outside.parent)
    (folder / "half").mkdir()
    (folder / "half" / "SKILL.md").symlink_to(outside)
    (folder / "loop").symlink_to(folder / "loop")
    assert load_skills(["linked", "half", "loop"]) == ([], ["linked", "half", "loop"])


def test_a_link_within_the_folder_is_followed(folder: Path) -> None:
    write(folder, "review", "Read twice.")
    (folder / "check").symlink_to(folder / "review")
    assert load_skills(["check"])[0] == [Skill("check", "Read twice.")]


def test_the_folder_itself_may_be_a_link(settings: Settings, tmp_path: Path) -> None:
    write(tmp_path / "elsewhere", "review", "Read twice.")
    (tmp_path / "skills").symlink_to(tmp_path / "elsewhere")
    settings.HERMES_HOME = str(tmp_path)
    assert load_skills(["review"])[0] == [Skill("review", "Read twice.")]


def test_a_long_skill_is_cut_and_says_so(folder: Path) -> None:
    write(folder, "long", "尺" * SKILL_LIMIT)
    [skill], _missing = load_skills(["long"])
    assert len(skill.text.encode()) < SKILL_LIMIT + 100
    assert skill.text.endswith("left out]")


def test_what_is_no_file_that_can_be_read_is_missing(folder: Path) -> None:
    (folder / "folder" / "SKILL.md").mkdir(parents=True)
    (folder / "pipe").mkdir()
    os.mkfifo(folder / "pipe" / "SKILL.md")
    write(folder, "empty", "---\nname: empty\n---\n")
    assert load_skills(["folder", "pipe", "empty"]) == ([], ["folder", "pipe", "empty"])


def test_there_is_an_end_to_how_many_are_loaded(folder: Path) -> None:
    names = [f"s{number}" for number in range(MOST_SKILLS + 5)]
    assert len(load_skills(names)[1]) == MOST_SKILLS


@pytest.mark.parametrize("names", [None, "review", {"review": 1}, 7, [None, 7, ["review"]]])
def test_what_is_no_list_of_names_is_no_skills(folder: Path, names: object) -> None:
    write(folder, "review", "Read twice.")
    assert load_skills(names) == ([], [])


@pytest.mark.parametrize("home", ["", "/nowhere/at/all"])
def test_without_a_home_every_skill_is_missing(settings: Settings, home: str) -> None:
    settings.HERMES_HOME = home
    assert load_skills(["review"]) == ([], ["review"])


def test_the_prompt_comes_last() -> None:
    assert with_skills("Do it.", [Skill("a", "A"), Skill("b", "B")]) == (
        '<skill name="a">\nA\n</skill>\n\n<skill name="b">\nB\n</skill>\n\nDo it.'
    )
    assert with_skills("Do it.", []) == "Do it."
