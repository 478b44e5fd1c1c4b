"""The languages of the guides; a test is skipped, and says so, where one is not installed."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

DOCS = Path(__file__).parents[2] / "docs"
# The first that run TypeScript as it is.
NODE = (22, 18)


def sample(page: str, language: str, having: str = "") -> str:
    """Return the one code block of a page in a language, or that of them which has a text."""
    blocks = re.findall(rf"```{language}\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)
    [found] = [block for block in blocks if having in block]
    return str(found)


def node() -> str:
    """Return a Node.js that runs TypeScript: the machine's, or the one that Playwright brings."""
    known = [shutil.which("node"), _playwrights()]
    for path in known:
        if path and _version(path) >= NODE:
            return path
    pytest.skip("no Node.js of 22.18 or newer is installed")


def tool(name: str) -> str:
    """Return the path of a program."""
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path


def run(command: list[str], asked: Any, cwd: Path, **env: str) -> Any:
    """Give a program JSON and return the JSON that it answers with."""
    done = subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, **env},
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def _playwrights() -> str | None:
    try:
        from playwright._impl._driver import compute_driver_executable
    except ImportError:
        return None
    return str(compute_driver_executable()[0])


def _version(path: str) -> tuple[int, ...]:
    said = subprocess.run([path, "--version"], capture_output=True, text=True).stdout
    return tuple(int(part) for part in re.findall(r"\d+", said)[:2])
