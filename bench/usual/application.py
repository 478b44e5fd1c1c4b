"""DRF with its defaults, the ORM row by row, one django-q2 task per request; on granian, WSGI."""

import hashlib
import hmac
import os
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "bench.usual.settings")

from django.core.wsgi import get_wsgi_application

get_wsgi_application()

from django.http import HttpRequest
from django.urls import path
from django.utils import timezone
from django_q.tasks import async_task
from rest_framework.parsers import JSONParser
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from deliveries.ids import new_id
from deliveries.models import DedupeKey, Delivery, Event
from routes.models import Route


class UsualView(APIView):
    """Look the route up, verify, look for a duplicate, create, enqueue, answer."""

    authentication_classes = ()
    permission_classes = (AllowAny,)
    parser_classes = (JSONParser,)

    def post(self, request: Request, name: str) -> Response:
        """Answer one POST."""
        django_request: HttpRequest = request._request
        body = django_request.body
        route = Route.objects.select_related("agent").prefetch_related("secrets").get(name=name)
        secret = route.secrets.all()[0].value
        wanted = "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
        if not hmac.compare_digest(request.headers.get("X-Hub-Signature-256", ""), wanted):
            return Response({"error": "Invalid signature"}, status=401)
        event_name = request.headers.get("X-GitHub-Event", "unknown")
        if route.events and event_name not in route.events:
            return Response({"status": "ignored", "event": event_name})
        foreign = request.headers.get("X-GitHub-Delivery", "")
        payload: Any = request.data
        now = timezone.now()
        pk = new_id()
        _key, created = DedupeKey.objects.get_or_create(
            key=hashlib.blake2b(foreign.encode(), digest_size=16).digest(),
            defaults={"event_id": pk, "digest": b"", "at": now},
        )
        if not created:
            return Response({"status": "duplicate", "delivery_id": foreign})
        event = Event.objects.create(
            id=pk, source="route", route=name, type=event_name, dedupe_key=foreign,
            headers={"body": payload}, trace=pk, received_at=now,
        )  # fmt: skip
        assert route.agent is not None
        delivery = Delivery.objects.create(
            event=event, lane_id=route.agent.lane_id, event_type="message.new", created_at=now
        )
        async_task("bench.usual.tasks.send", str(delivery.pk))
        return Response({"status": "accepted", "delivery_id": foreign}, status=202)


urlpatterns = [path("webhooks/<str:name>", UsualView.as_view())]
application = get_wsgi_application()
