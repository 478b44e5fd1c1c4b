"""What the tests of DingTalk share: credentials, answers, sessions."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

from django.utils import timezone

from deliveries.outcomes import Outcome, Verdict
from platforms.models import Channel, SessionWebhook
from platforms.senders.dingtalk import DingTalk

from .fake import Answer, FakePlatform

CLIENT_ID = "dingabcdefghijklmnop"
SECRET = "PlZ9hKpW-3nQvJc_2TtRx7yUuBbNnMm4LlKkJjHhGgFx5Qw"
TOKEN = "accesstoken000001-lent"
TOKEN_PATH = "/v1.0/oauth2/accessToken"
ROBOT_TOKEN = "0123456789abcdef" * 4
ROBOT_SECRET = "SECtest000000000000000000000000000000000000000000000000000000000001"
SESSION = "6d3f0c1a5b7e9d2f4a6c8e0b1d3f5a7c"
GROUP_CHAT = "cidGroup0123456789abcdEFGH=="
PRIVATE_CHAT = "cidPrivate0123456789abcdEFGH=="
STAFF = "manager7788"

OK = Answer.json(200, {"errcode": 0, "errmsg": "ok"})
SENT = Answer.json(200, {"processQueryKey": "pqk-1", "invalidStaffIdList": []})
LENT = Answer.json(200, {"accessToken": TOKEN, "expireIn": 7200})
GONE = Answer.json(200, {"errcode": 300001, "errmsg": "session 不存在"})

Row = tuple[Verdict, str, bool]
FAILED, RETRY = Verdict.FAILED, Verdict.RETRY


def no(code: int, msg: str = "it says why") -> Answer:
    return Answer.json(200, {"errcode": code, "errmsg": msg})


def api_no(status: int, code: str, **more: Any) -> Answer:
    said = {"code": code, "message": "it says why", "requestid": "req-1", **more}
    return Answer.json(status, said)


def app(fake: FakePlatform, **config: Any) -> DingTalk:
    return DingTalk(
        {"client_id": CLIENT_ID, "client_secret": SECRET, "api_base": fake.url, **config}
    )


def robot_url(fake: FakePlatform) -> str:
    return f"{fake.url}/robot/send?access_token={ROBOT_TOKEN}"


def session(channel: Channel, fake: FakePlatform, chat: str, **facts: Any) -> SessionWebhook:
    now = timezone.now()
    defaults = {
        "url": f"{fake.url}/robot/sendBySession?session={SESSION}",
        "expires_at": now + timedelta(minutes=90),
        "conversation_type": "2" if chat == GROUP_CHAT else "1",
        "staff_id": "" if chat == GROUP_CHAT else STAFF,
        "robot_code": CLIENT_ID,
        "connection": uuid4(),
        "created_at": now,
    }
    return SessionWebhook.objects.create(
        channel=channel, conversation_id=chat, **{**defaults, **facts}
    )


def roads(outcome: Outcome) -> Any:
    return outcome.provider_ids.get("road")


def paths(fake: FakePlatform) -> list[str]:
    return [seen.path.partition("?")[0] for seen in fake.requests]
