"""The payloads of tests/fixtures, as they travel."""

import json
from pathlib import Path
from typing import Any

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures"


def body_of(sample: str) -> bytes:
    """Return the bytes of a sample such as ``github/pull_request__opened``."""
    return (FIXTURES / f"{sample}.json").read_bytes()


def payload_of(sample: str) -> Any:
    """Return a sample as data."""
    return json.loads(body_of(sample))
