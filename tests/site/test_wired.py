"""Metrics, the System page and JSON logs are where settings and addresses say."""

import io
import json
import os
import sys
from typing import Any

import pytest
from django.test import Client

from hermes_site.gateway.output import Relay


@pytest.mark.django_db
def test_metrics_and_the_system_page_have_their_addresses(admin_client: Client) -> None:
    assert admin_client.get("/metrics").status_code == 200
    assert admin_client.get("/admin/system/").status_code == 200
    assert 'href="/admin/system/"' in admin_client.get("/admin/").content.decode()


@pytest.mark.django_db
def test_metrics_are_not_sent_to_https_that_only_the_proxy_speaks(
    client: Client, settings: Any
) -> None:
    settings.SECURE_SSL_REDIRECT = True
    assert client.get("/metrics").status_code == 200
    assert client.get("/admin/").status_code == 301


@pytest.mark.parametrize("format_", ["text", "json"])
def test_what_a_child_prints_is_passed_on_in_the_format_of_the_logs(
    settings: Any, monkeypatch: pytest.MonkeyPatch, format_: str
) -> None:
    settings.LOG_FORMAT = format_
    out = io.TextIOWrapper(io.BytesIO())
    monkeypatch.setattr(sys, "stdout", out)
    reader, writer = os.pipe()
    os.write(writer, b'{"message": "ours"}\nplain words\n')
    os.close(writer)
    relay = Relay("web", os.fdopen(reader, "rb"))
    relay.pass_on()
    relay.close()
    first, second = out.buffer.getvalue().decode().splitlines()  # type: ignore[attr-defined]
    if format_ == "text":
        assert (first, second) == ('web     | {"message": "ours"}', "web     | plain words")
    else:
        assert json.loads(first) == {"message": "ours"}
        assert json.loads(second)["message"] == "plain words"
