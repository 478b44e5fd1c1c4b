"""Skills of the Hermes home: the text of a SKILL.md, to be put before a prompt."""

import logging
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings

logger = logging.getLogger(__name__)

DEFAULT_HOME = "~/.hermes"
FOLDER, FILE_NAME = "skills", "SKILL.md"
SKILL_LIMIT = 65_536  # bytes of one file; what is longer is cut and says so
MOST_SKILLS = 16  # of one message
# "code-review", or with its category "github/code-review".
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}(/[A-Za-z0-9_][A-Za-z0-9._-]{0,99})?\Z")
FRONT_MATTER = re.compile(r"\A---[ \t]*\n.*?^---[ \t]*(\n|\Z)", re.DOTALL | re.MULTILINE)
CUT = "\n[… the rest of this skill is left out]"


@dataclass(frozen=True, slots=True)
class Skill:
    """One skill by its name, without front matter."""

    name: str
    text: str


def load_skills(names: object) -> tuple[list[Skill], list[str]]:
    """Return the skills of these names in their order, and the names of those that are not there.

    ``names`` is what a message's metadata has under ``skills``; anything but a list of texts is
    as good as none. A skill is missing when its file is not there or can't be read, when it is
    empty, or when it lies outside the home's folder of skills, by its name or through a link.
    """
    wanted = [name for name in names if isinstance(name, str)] if isinstance(names, list) else []
    wanted = list(dict.fromkeys(wanted))[:MOST_SKILLS]
    root = _root()
    found: list[Skill] = []
    missing: list[str] = []
    for name in wanted:
        text = _text(root, name) if root is not None and NAME.match(name) else ""
        if text:
            found.append(Skill(name, text))
        else:
            missing.append(name)
    return found, missing


def with_skills(prompt: str, skills: Iterable[Skill]) -> str:
    """Return a prompt with the skills before it, each under its name."""
    parts = [f'<skill name="{skill.name}">\n{skill.text}\n</skill>' for skill in skills]
    return "\n\n".join([*parts, prompt])


def _root() -> Path | None:
    """Return the folder of skills, links resolved; None without one."""
    home = DEFAULT_HOME if settings.HERMES_HOME is None else settings.HERMES_HOME
    if not home:
        return None
    try:
        return (Path(home).expanduser() / FOLDER).resolve(strict=True)
    except (OSError, RuntimeError):
        return None


def _text(root: Path, name: str) -> str:
    for path in _candidates(root, name):
        try:
            file = path.resolve(strict=True)
            if not file.is_relative_to(root):
                logger.warning("The skill %s is not used: it lies outside %s", name, root)
                continue
            # Not a pipe or a device, which would be read for ever.
            if file.is_file():
                return _read(file)
        except FileNotFoundError:
            continue
        except (OSError, RuntimeError) as error:
            logger.warning("The skill %s can't be read: %s", name, type(error).__name__)
    return ""


def _candidates(root: Path, name: str) -> Iterator[Path]:
    yield root / name / FILE_NAME
    if "/" not in name:
        # hermes-agent sorts its skills into folders by category.
        yield from sorted(root.glob(f"*/{name}/{FILE_NAME}"))


def _read(file: Path) -> str:
    with file.open("rb") as opened:
        content = opened.read(SKILL_LIMIT + 1)
    text = content[:SKILL_LIMIT].decode("utf-8-sig", errors="replace").replace("\r\n", "\n")
    text = FRONT_MATTER.sub("", text, count=1).replace("\0", "�").strip()
    return text + CUT if text and len(content) > SKILL_LIMIT else text
