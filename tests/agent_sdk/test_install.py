"""The SDK by itself: installed from the tree, it needs `requests` and nothing else of ours."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which the SDK was installed, from a copy of its folder."""
    pytest.importorskip("setuptools", reason="setuptools is not installed")
    folder = tmp_path_factory.mktemp("sdk")
    source = shutil.copytree(
        ROOT / "agent_sdk", folder / "agent_sdk", ignore=shutil.ignore_patterns("__pycache__")
    )
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    command += ["--no-build-isolation", "--disable-pip-version-check"]
    subprocess.run([*command, "--target", str(folder / "site"), str(source)], check=True)
    return folder / "site"


def python(site: Path, script: str) -> str:
    """Run a script that sees the installed SDK, and of this repository nothing."""
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=site.parent.parent,
        env={"PYTHONPATH": str(site), "PATH": ""},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_it_is_imported_from_where_it_was_installed(site: Path) -> None:
    said = python(site, "import agent_sdk; print(agent_sdk.__file__)")
    assert Path(said) == site / "agent_sdk" / "__init__.py"


def test_it_brings_its_types(site: Path) -> None:
    assert (site / "agent_sdk" / "py.typed").exists()


@pytest.mark.parametrize("package", ["django", "cryptography", "websockets", "flask", "fastapi"])
def test_it_is_imported_without(site: Path, package: str) -> None:
    script = f"import sys; sys.modules[{package!r}] = None; import agent_sdk"
    assert python(site, script) == ""
