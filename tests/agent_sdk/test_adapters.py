"""The dispatcher behind the web's interfaces, and behind frameworks where they are installed."""

import asyncio
import base64
import io
import json
import threading
from collections.abc import Callable
from typing import Any
from wsgiref.validate import validator

import pytest
import requests

from agent_sdk import (
    InboundMessage,
    WebhookDispatcher,
    asgi,
    fastapi_app,
    flask_view,
    http_server,
    lambda_handler,
    wsgi,
)
from agent_sdk.dispatcher import LARGEST_BODY

from .conftest import MakeDispatcher
from .gateway import delivery

# Takes a request, returns status, headers in lower case, body.
Door = Callable[[str, dict[str, str], bytes], tuple[int, dict[str, str], bytes]]


def through_wsgi(dispatcher: WebhookDispatcher) -> Door:
    application = validator(wsgi(dispatcher))

    def call(method: str, headers: dict[str, str], body: bytes) -> Any:
        environ = {
            "REQUEST_METHOD": method,
            "SCRIPT_NAME": "",
            "PATH_INFO": "/",
            "QUERY_STRING": "",
            "SERVER_NAME": "agent.example",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "CONTENT_LENGTH": str(len(body)),
            "CONTENT_TYPE": "application/json",
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(body),
            "wsgi.errors": io.StringIO(),
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
        }
        for name, value in headers.items():
            if name != "Content-Type":
                environ[f"HTTP_{name.upper().replace('-', '_')}"] = value
        told: list[Any] = []
        answer = application(environ, lambda *start: told.append(start))  # type: ignore[arg-type]
        content = b"".join(answer)
        answer.close()  # type: ignore[attr-defined]
        status, fields = told[0]
        return int(status[:3]), {name.lower(): value for name, value in fields}, content

    return call


def through_asgi(dispatcher: WebhookDispatcher) -> Door:
    return drive(asgi(dispatcher))


def drive(application: Any) -> Door:
    def call(method: str, headers: dict[str, str], body: bytes) -> Any:
        halves = [body[: len(body) // 2], body[len(body) // 2 :]]
        sent: list[Any] = []

        async def receive() -> Any:
            part = halves.pop(0)
            return {"type": "http.request", "body": part, "more_body": bool(halves)}

        async def send(message: Any) -> None:
            sent.append(message)

        raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        scope = {
            "type": "http",
            "method": method,
            "headers": raw,
            "path": "/hook/",
            "query_string": b"",
            "root_path": "",
        }
        asyncio.run(application(scope, receive, send))
        start, content = sent
        fields = {name.decode().lower(): value.decode() for name, value in start["headers"]}
        return start["status"], fields, content["body"]

    return call


def through_lambda(dispatcher: WebhookDispatcher) -> Door:
    handler = lambda_handler(dispatcher)

    def call(method: str, headers: dict[str, str], body: bytes) -> Any:
        event = {"headers": headers, "body": body.decode(), "isBase64Encoded": False}
        answer = handler(event, None)
        fields = {name.lower(): value for name, value in answer["headers"].items()}
        return answer["statusCode"], fields, answer["body"].encode()

    return call


def through_http(dispatcher: WebhookDispatcher) -> Door:
    server = http_server(dispatcher, 0, "127.0.0.1")
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()

    def call(method: str, headers: dict[str, str], body: bytes) -> Any:
        url = f"http://127.0.0.1:{server.server_port}/"
        answer = requests.request(method, url, headers=headers, data=body, timeout=5)
        return answer.status_code, {k.lower(): v for k, v in answer.headers.items()}, answer.content

    return call


DOORS = [through_wsgi, through_asgi, through_lambda, through_http]


@pytest.mark.parametrize("door", DOORS)
def test_a_delivery_goes_through_and_its_answer_comes_back(
    make_dispatcher: MakeDispatcher, door: Callable[[WebhookDispatcher], Door]
) -> None:
    call = door(make_dispatcher(on_message=lambda message: f"“{message.text}”"))
    status, headers, body = call("POST", *delivery())
    assert (status, headers["content-type"]) == (200, "application/json")
    assert "尺寸" in json.loads(body)["payload"]["text"]


@pytest.mark.parametrize("door", DOORS)
def test_a_forgery_is_refused(
    make_dispatcher: MakeDispatcher,
    got: list[InboundMessage],
    door: Callable[[WebhookDispatcher], Door],
) -> None:
    headers, body = delivery()
    call = door(make_dispatcher())
    assert call("POST", headers, body + b" ")[0] == 401
    assert call("POST", {}, b"")[0] == 401
    assert got == []


@pytest.mark.parametrize("door", [through_wsgi, through_asgi, through_http])
def test_a_body_above_the_limit_is_not_read_to_its_end(
    make_dispatcher: MakeDispatcher, door: Callable[[WebhookDispatcher], Door]
) -> None:
    headers, _body = delivery()
    assert door(make_dispatcher())("POST", headers, b"x" * (LARGEST_BODY + 1))[0] == 413


@pytest.mark.parametrize("door", [through_wsgi, through_asgi])
def test_another_method_is_a_405(
    make_dispatcher: MakeDispatcher, door: Callable[[WebhookDispatcher], Door]
) -> None:
    status, headers, _body = door(make_dispatcher())("GET", {}, b"")
    assert (status, headers["allow"]) == (405, "POST")


def test_a_lambda_may_get_the_body_in_base64(
    make_dispatcher: MakeDispatcher, got: list[InboundMessage]
) -> None:
    headers, body = delivery()
    lower = {name.lower(): value for name, value in headers.items()}
    event = {"headers": lower, "body": base64.b64encode(body).decode(), "isBase64Encoded": True}
    assert lambda_handler(make_dispatcher())(event, None)["statusCode"] == 200
    assert len(got) == 1


def test_a_lambda_that_is_called_with_nothing_refuses(make_dispatcher: MakeDispatcher) -> None:
    handler = lambda_handler(make_dispatcher())
    assert handler({"headers": None, "body": None}, None)["statusCode"] == 401


def test_flask_takes_it_as_a_view(make_dispatcher: MakeDispatcher) -> None:
    flask = pytest.importorskip("flask", reason="flask is not installed")
    app = flask.Flask("agent")
    app.post("/hook")(flask_view(make_dispatcher(on_message=lambda message: message.text)))
    headers, body = delivery()
    answer = app.test_client().post("/hook", data=body, headers=headers)
    assert answer.status_code == 200
    assert "尺寸" in answer.get_json()["payload"]["text"]
    assert app.test_client().post("/hook", data=body + b" ", headers=headers).status_code == 401


def test_fastapi_mounts_it(make_dispatcher: MakeDispatcher) -> None:
    fastapi = pytest.importorskip("fastapi", reason="fastapi is not installed")
    app = fastapi.FastAPI()
    app.mount("/hook", fastapi_app(make_dispatcher(on_message=lambda message: message.text)))
    status, _headers, body = drive(app)("POST", *delivery())
    assert status == 200
    assert "尺寸" in json.loads(body)["payload"]["text"]
