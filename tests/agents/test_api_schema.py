"""The description of the REST API at /api/schema."""

from io import StringIO
from typing import Any

import pytest
import yaml
from django.core.management import call_command
from django.test import Client

from agents.api.serializers import FinalStatus
from deliveries.models import Delivery


@pytest.fixture
def schema() -> Any:
    out = StringIO()
    call_command("spectacular", "--validate", "--fail-on-warn", stdout=out)
    return yaml.safe_load(out.getvalue())


def test_it_is_built_without_warnings_and_names_the_three_endpoints(schema: Any) -> None:
    assert {
        (method, path): sorted(told["responses"])
        for path, methods in schema["paths"].items()
        for method, told in methods.items()
    } == {
        ("post", "/agents/{agent_id}/connection/recover"): ["200", "401", "404"],
        ("get", "/agents/{agent_id}/delivery-logs"): ["200", "400", "401", "404"],
        ("post", "/agents/{agent_id}/messages"): ["202", "400", "401", "404", "413"],
    }


def test_every_endpoint_wants_the_agents_token(schema: Any) -> None:
    told = [one for methods in schema["paths"].values() for one in methods.values()]
    assert [one["security"] for one in told] == [[{"agentToken": []}]] * 3
    assert schema["components"]["securitySchemes"]["agentToken"]["scheme"] == "bearer"


def test_a_line_of_the_delivery_log_always_has_all_of_its_fields(schema: Any) -> None:
    line = schema["components"]["schemas"]["DeliveryLog"]
    assert sorted(line["required"]) == sorted(line["properties"])


def test_the_final_statuses_are_those_of_the_ledger() -> None:
    assert {*FinalStatus.__args__, "pending"} == set(Delivery.Status.values)


def test_it_is_served(client: Client) -> None:
    assert client.get("/api/schema").status_code == 200
