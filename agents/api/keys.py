"""The keys around sealed envelopes: the agent's public one, and the gateway's."""

import base64
from typing import Any

from django.core.exceptions import ValidationError as InvalidValue
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from agents.models import Agent
from agents.sealing import read_public_key
from agents.services.keys import set_public_key
from vault.signing import key_id, signing_keys

from .schema import BAD_FIELDS, NOT_FOUND, UNAUTHORIZED
from .views import AgentView


class NewPublicKeySerializer(serializers.Serializer[Any]):
    """An X25519 public key in base64; null: envelopes are no longer sealed."""

    public_key = serializers.CharField(allow_null=True, max_length=64)


class GatewayKeySerializer(serializers.Serializer[Any]):
    """An Ed25519 public key of the gateway, in base64, and its name in envelopes."""

    key_id = serializers.CharField()
    public_key = serializers.CharField()


class KeysSerializer(serializers.Serializer[Any]):
    """For which key envelopes are sealed, and which keys sign them, newest first."""

    public_key = serializers.CharField(allow_null=True)
    key_id = serializers.CharField(allow_null=True)
    gateway_keys = GatewayKeySerializer(many=True)


class PublicKeyView(AgentView):
    """``GET`` and ``PUT /agents/<id>/public-key``."""

    @extend_schema(
        operation_id="public_key",
        responses={200: KeysSerializer, 401: UNAUTHORIZED, 404: NOT_FOUND},
    )
    def get(self, request: Request, agent_id: str) -> Response:
        """Answer the keys as they are."""
        return Response(_keys(self.agent()))

    @extend_schema(
        operation_id="set_public_key",
        request=NewPublicKeySerializer,
        responses={200: KeysSerializer, 400: BAD_FIELDS, 401: UNAUTHORIZED, 404: NOT_FOUND},
    )
    def put(self, request: Request, agent_id: str) -> Response:
        """Seal what the agent is sent from now on for this key."""
        given = NewPublicKeySerializer(data=request.data)
        given.is_valid(raise_exception=True)
        agent = self.agent()
        try:
            set_public_key(agent, given.validated_data["public_key"] or "")
        except InvalidValue as error:
            raise ValidationError({"public_key": error.messages}) from None
        return Response(_keys(agent))


def _keys(agent: Agent) -> dict[str, Any]:
    fields = {
        "public_key": agent.public_key or None,
        "key_id": key_id(read_public_key(agent.public_key)) if agent.public_key else None,
        "gateway_keys": [
            {"key_id": key.id, "public_key": base64.b64encode(key.public).decode()}
            for key in signing_keys()
        ],
    }
    return dict(KeysSerializer(fields).data)
