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


# What an agent calls with its own token, and what each may answer.
OWN = {
    ("post", "/agents/{agent_id}/connection/recover"): ["200", "401", "404"],
    ("get", "/agents/{agent_id}/conversations"): ["200", "400", "401", "404"],
    ("get", "/agents/{agent_id}/conversations/{conversation_id}"): ["200", "401", "404"],
    ("get", "/agents/{agent_id}/delivery-logs"): ["200", "400", "401", "404"],
    ("post", "/agents/{agent_id}/messages"): ["202", "400", "401", "404", "413"],
    ("get", "/agents/{agent_id}/public-key"): ["200", "401", "404"],
    ("put", "/agents/{agent_id}/public-key"): ["200", "400", "401", "404"],
    ("get", "/agents/{agent_id}/tokens"): ["200", "401", "404"],
    ("post", "/agents/{agent_id}/tokens/rotate"): ["201", "400", "401", "404", "409"],
    ("delete", "/agents/{agent_id}/tokens/{token_id}"): ["204", "401", "404"],
    ("get", "/r2/{object_key}"): ["200", "401", "404", "429", "503"],
}


def endpoints(schema: Any) -> dict[tuple[str, str], Any]:
    return {
        (method, path): told
        for path, methods in schema["paths"].items()
        for method, told in methods.items()
    }


def test_it_is_built_without_warnings_and_names_what_each_endpoint_may_answer(schema: Any) -> None:
    found = {where: sorted(told["responses"]) for where, told in endpoints(schema).items()}
    assert OWN.items() <= found.items()


def test_an_agents_own_endpoints_want_its_token(schema: Any) -> None:
    told = endpoints(schema)
    for where in OWN:
        assert told[where]["security"] == [{"agentToken": []}], where


def test_the_agents_token_is_a_bearer_token(schema: Any) -> None:
    assert schema["components"]["securitySchemes"]["agentToken"]["scheme"] == "bearer"


def test_no_endpoint_is_open(schema: Any) -> None:
    for where, told in endpoints(schema).items():
        assert told["security"], where
        assert {} not in told["security"], where
        assert "401" in told["responses"], where


def test_a_line_of_the_delivery_log_always_has_all_of_its_fields(schema: Any) -> None:
    line = schema["components"]["schemas"]["DeliveryLog"]
    assert sorted(line["required"]) == sorted(line["properties"])


def test_the_final_statuses_are_those_of_the_ledger() -> None:
    # What was skipped is not in the log.
    assert {*FinalStatus.__args__, "pending", "skipped"} == set(Delivery.Status.values)


def test_it_is_served(client: Client) -> None:
    assert client.get("/api/schema").status_code == 200
