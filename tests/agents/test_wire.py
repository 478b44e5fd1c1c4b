"""The S2 wire format: bytes, headers, signature."""

import hashlib
import hmac
import json
import shutil
import subprocess
import time
from datetime import datetime, timedelta, timezone

import pytest

from agents import envelope, wire

from .conftest import SECRET, make_message

DELIVERY_ID = "01930b1e-7c00-7000-8000-000000000001"


# The verifier of spec 002, its lines as they stand there.
# fmt: off
def verify(secret: str, headers: dict, body: str) -> bool:  # type: ignore[type-arg]
    ts = headers.get("X-Hashee-Timestamp") or headers.get("x-hashee-timestamp")
    sig = headers.get("X-Hashee-Signature") or headers.get("x-hashee-signature")
    delivery_id = headers.get("X-Hashee-Delivery-Id") or headers.get("x-hashee-delivery-id")
    if not (ts and sig and delivery_id):
        return False
    if abs(int(time.time()) - int(ts)) > 300:
        return False
    signed = f"{ts}.{delivery_id}.{body}"
    expected = hmac.new(secret.encode(), signed.encode(), hashlib.sha256).hexdigest()
    return hmac.compare_digest(sig, expected)
# fmt: on


def signed_now(secret: str = SECRET) -> tuple[dict[str, str], str]:
    message = make_message()
    body = wire.body(message)
    headers = wire.headers(
        secret=secret,
        agent_id=message.event_id,
        delivery_id=message.id,
        body=body,
        timestamp=int(time.time()),
    )
    return headers, body.decode()


def test_the_specs_own_verifier_accepts_a_delivery() -> None:
    headers, body = signed_now()
    assert verify(SECRET, headers, body)


def test_the_specs_own_verifier_refuses_another_secret_and_another_body() -> None:
    headers, body = signed_now()
    assert not verify(SECRET[:-2] + "A=", headers, body)
    assert not verify(SECRET, headers, body + " ")


def test_a_secret_that_is_not_ascii_signs_by_its_utf8_bytes() -> None:
    headers, body = signed_now("密钥" * 11)
    assert verify("密钥" * 11, headers, body)


def test_the_vector_of_the_fact_sheet_holds() -> None:
    body = b'{"type":"message.new","version":"v1"}'
    assert (
        wire.sign(SECRET, 1731200000, DELIVERY_ID, body)
        == "d5c5556363b7fcb5cb4463209a0ce9e9febc4866ac417fe7c4b91788ce31a48b"
    )


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_the_specs_openssl_recipe_gives_the_same_signature() -> None:
    script = r"""
    SIGNED="${TS}.${ID}.${BODY}"
    printf '%s' "$SIGNED" | openssl dgst -sha256 -hmac "$SECRET" | awk '{print $2}'
    """
    body = '{"event":"test","data":{}}'
    made = subprocess.run(
        ["sh", "-c", script],
        env={
            "SECRET": SECRET,
            "TS": "1731200000",
            "ID": DELIVERY_ID,
            "BODY": body,
            "PATH": "/usr/bin:/bin:/usr/local/bin",
        },
        capture_output=True,
        text=True,
        check=True,
    )
    assert wire.sign(SECRET, 1731200000, DELIVERY_ID, body.encode()) == made.stdout.strip()


def test_the_body_has_the_fields_of_the_spec_and_no_others() -> None:
    message = make_message()
    body = json.loads(wire.body(message))
    assert body == {
        "type": "message.new",
        "version": "v1",
        "wire_envelope": envelope.encode(message),
        "metadata": {
            "conversation_id": "01930b1e-7a00-7000-8000-000000000003",
            "sender_id": "github:octocat",
            "created_at": "2026-05-15T10:24:11.123Z",
            "skills": ["code-review"],
        },
    }


def test_a_route_without_skills_leaves_the_field_out() -> None:
    body = json.loads(wire.body(make_message(metadata={})))
    assert set(body["metadata"]) == {"conversation_id", "sender_id", "created_at"}


def test_the_body_is_the_same_on_every_attempt() -> None:
    first = wire.body(make_message(number=1))
    again = wire.body(make_message(number=5, retrying=True, progress={"parts_sent": 1}))
    assert first == again


def test_times_are_told_in_utc_with_milliseconds() -> None:
    east = timezone(timedelta(hours=8))
    moment = datetime(2026, 5, 15, 18, 24, 11, tzinfo=east)
    assert envelope.iso_milliseconds(moment) == "2026-05-15T10:24:11.000Z"
