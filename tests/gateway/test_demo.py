"""The demo: the example routes of spec 001, seen to work from a single command."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.gateway.process import ROOT

pytestmark = pytest.mark.processes


def run_demo(data: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "manage.py"), "demo", "--once", "--data", str(data)],
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "hermes_site.settings",
            "HERMES_DATA_DIR": str(data / "mine"),
        },
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_the_demo_tells_what_came_of_every_event_and_can_be_run_again(tmp_path: Path) -> None:
    for _ in range(2):
        done = run_demo(tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
        told = done.stdout
        assert "POST /webhooks/github-pr → 202 accepted" in told
        assert "comment on acme-shop/storefront#42: **Retry payment webhooks" in told
        assert "POST /webhooks/github-pr → 200 duplicate" in told
        assert "POST /webhooks/github-pr → 401" in told
        assert "POST /webhooks/gitlab-mr → 202 accepted" in told
        assert "POST /webhooks/deploy-notify → 200 delivered" in told
        assert "message to chat -1001234567890: New push to acme-shop/storefront" in told
        assert "POST /webhooks/talk → 202 accepted" in told
        assert "message to D0ACME004: > Is checkout healthy again?" in told
        assert told.count("  delivered to ") == 7
        assert "Password" in told
    assert not (tmp_path / "mine").exists()
    log = (tmp_path / "gateway.log").read_text()
    assert "发票金额按银行家舍入法取整" in log
