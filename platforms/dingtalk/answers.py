"""What DingTalk's answers mean, on each of the roads into it (facts/channels.md §13.9).

https://open.dingtalk.com/document/orgapp/robot-error-codes
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from deliveries.outbound import Reply
from deliveries.outcomes import Outcome, Verdict
from platforms.replies import (
    BAD_REPLY,
    FORBIDDEN,
    RATE_LIMITED,
    REFUSED,
    SERVER_ERROR,
    TEMPORARY,
    UNAUTHORIZED,
    Meaning,
    meaning_of,
    outcome_of,
    retry_after,
)

QPS_WAIT = 5.0  # seconds: limits of the API are of a second
FLOW_WAIT = 60.0
THROTTLED_WAIT = 600.0  # a robot that spoke too often is silent for ten minutes
BAN_WAIT = 300.0  # an address that called too often is shut out for five

# The session webhook is not known (any more); the other roads are open.
SESSION_GONE = Meaning(Verdict.FAILED, "session_gone")
# What was said is refused, and would be on every road.
CONTENT = Meaning(Verdict.FAILED, "content_refused")
USER_UNKNOWN = Meaning(Verdict.FAILED, "user_unknown")
CHAT_GONE = Meaning(Verdict.FAILED, "chat_gone")
FILTERED = Meaning(Verdict.FAILED, "filtered")
BAD_ROBOT = Meaning(Verdict.FAILED, "bad_robot", faults_channel=True)
# Keyword, signature or address: the robot's security settings.
INSECURE = Meaning(Verdict.FAILED, "robot_security", faults_channel=True)
QUOTA = Meaning(Verdict.FAILED, "quota", faults_channel=True)
THROTTLED = Meaning(Verdict.RETRY, "rate_limited")  # equal to RATE_LIMITED, but not the same
# A page of the gateway in front; nothing of ours got through.
BANNED = Meaning(Verdict.RETRY, "bad_reply")

SECURITY = 310000
CONTENT_CODES = (40035, 43004, 400105, 430101, 430102, 430103, 430104)
# Of both kinds of webhook.
WEBHOOK = {
    -1: TEMPORARY,
    **dict.fromkeys((410100, 130101, 90030), THROTTLED),
    **dict.fromkeys(CONTENT_CODES, CONTENT),
}
SESSION = WEBHOOK | dict.fromkeys((300001, 300005), SESSION_GONE)
ROBOT = WEBHOOK | {
    SECURITY: INSECURE,
    **dict.fromkeys((300001, 400101, 400102, 400106, 400013), BAD_ROBOT),
}
# Of the OpenAPI, where it speaks in numbers.
NUMBERS = {
    **dict.fromkeys((88, 40014), UNAUTHORIZED),
    **dict.fromkeys((90002, 90018, 90019), RATE_LIMITED),
    90020: QUOTA,
}
# Of the OpenAPI, in the order in which they are looked for, in lower case.
CODES = (
    ("qpslimit", RATE_LIMITED),
    ("apicountlimit", QUOTA),
    ("invalidauthentication", UNAUTHORIZED),
    ("invalidclientidorsecret", UNAUTHORIZED),
    ("invalid.client", UNAUTHORIZED),
    ("unauthorized.client", UNAUTHORIZED),
    ("forbidden.accessdenied", FORBIDDEN),
    ("staffid.notexisted", USER_UNKNOWN),
    ("invalidparameter.userids", USER_UNKNOWN),
    ("openconversationid.notexisted", CHAT_GONE),
    ("invalidparameter.openconversationid", CHAT_GONE),
    ("group.disbanded", CHAT_GONE),
    ("robot.notingroup", CHAT_GONE),
    ("robot.not.in.group", CHAT_GONE),
    ("resource.not.found", BAD_ROBOT),
    ("invalidparameter.robotcode", BAD_ROBOT),
    ("bot.stopped", BAD_ROBOT),
    ("template.stopped", BAD_ROBOT),
    ("invalidparameter.msgkey", CONTENT),
    ("invalidparameter.msgparam", CONTENT),
    ("invalidparameter.param", CONTENT),
    ("systemerror", SERVER_ERROR),
    ("serviceunavailable", SERVER_ERROR),
)
# Said with statuses of every kind by servers that know no such session.
NO_SESSION = re.compile(
    r"30000[15]\b|session\W.{0,40}?(?:not? exist|not found|expired|invalid|不存在|过期)",
    re.IGNORECASE | re.DOTALL,
)
# Lists in a success: those in them got nothing.
MISSED = (
    ("invalidStaffIdList", USER_UNKNOWN, None),
    ("flowControlledStaffIdList", RATE_LIMITED, FLOW_WAIT),
    ("filteredStaffIdList", FILTERED, None),
)


@dataclass(frozen=True, slots=True)
class Answer:
    """A reply taken apart: its code as number or word, its words, its JSON."""

    reply: Reply
    number: int | None
    code: str  # in lower case; empty where it gives none
    words: str
    body: Mapping[str, Any]

    @property
    def is_page(self) -> bool:
        """Whether it is a page for people, such as that of a ban, where JSON should be."""
        return not self.body and self.reply.body.lstrip()[:1] == b"<"

    @property
    def is_token_refused(self) -> bool:
        """Whether it is about the access token, so that another may do."""
        meaning = _by_code(self) if self.code or self.number else None
        return meaning is UNAUTHORIZED or (meaning is None and self.reply.status == 401)


def read(reply: Reply) -> Answer:
    """Return a reply taken apart; DingTalk says ``errcode`` here and ``code`` there."""
    body = reply.json()
    body = body if isinstance(body, dict) else {}
    number, code = body.get("errcode"), body.get("code")
    number = number if isinstance(number, int) and not isinstance(number, bool) else None
    code = code if isinstance(code, str) else ""
    said = str(body.get("errmsg") or body.get("message") or "")
    pieces = [code or ("" if number is None else str(number)), said, _scopes(body)]
    if request_id := body.get("requestid"):
        pieces.append(f"({request_id})")
    return Answer(reply, number, code.lower(), " ".join(filter(None, pieces)), body)


def by_webhook(answer: Answer, table: Mapping[int, Meaning]) -> Outcome:
    """Return the outcome of a call to a webhook: of a session, or of a group's robot."""
    if answer.reply.status == 200 and answer.number == 0:
        return Outcome.delivered()
    if answer.number and answer.number in table:
        return _outcome(answer, table[answer.number])
    if table is SESSION and answer.reply.status != 200 and NO_SESSION.search(answer.reply.text):
        return _outcome(answer, SESSION_GONE)
    return _otherwise(answer)


def by_api(answer: Answer) -> Outcome:
    """Return the outcome of a call to the Robot OpenAPI for one person or one group."""
    if answer.code or answer.number:
        meaning = _by_code(answer)
        return _outcome(answer, meaning) if meaning else _otherwise(answer)
    key = answer.body.get("processQueryKey")
    if answer.reply.status != 200 or not isinstance(key, str) or not key:
        return _otherwise(answer)
    ids = {"processQueryKey": key}
    for name, meaning, wait in MISSED:
        if missed := answer.body.get(name):
            said = f"{name}: {missed}"
            return outcome_of(answer.reply, meaning, said, wait=wait, provider_ids=ids)
    return Outcome.delivered(provider_ids=ids)


def of_token_call(answer: Answer) -> Outcome:
    """Return why a token call brought none."""
    outcome = by_api(answer)
    of_request = outcome.error_class in (REFUSED.error_class, CONTENT.error_class)
    # Whatever else it says here, it says of the credential.
    return _outcome(answer, UNAUTHORIZED) if of_request else outcome


def _by_code(answer: Answer) -> Meaning | None:
    if answer.number:
        return NUMBERS.get(answer.number)
    return next((meaning for part, meaning in CODES if part in answer.code), None)


def _otherwise(answer: Answer) -> Outcome:
    """Return what an answer means that no table knows."""
    status = answer.reply.status
    if answer.is_page and (status == 200 or 400 <= status < 500):
        return _outcome(answer, BAD_REPLY if status == 200 else BANNED, BAN_WAIT)
    if status == 200:
        return _outcome(answer, REFUSED if answer.number or answer.code else BAD_REPLY)
    return _outcome(answer, meaning_of(status))


def _outcome(answer: Answer, meaning: Meaning, wait: float | None = None) -> Outcome:
    if meaning is THROTTLED:
        wait = THROTTLED_WAIT
    elif meaning is RATE_LIMITED and (answer.code or answer.number):
        wait = retry_after(answer.reply.headers) or QPS_WAIT
    return outcome_of(answer.reply, meaning, answer.words, wait=wait)


def _scopes(body: Mapping[str, Any]) -> str:
    """Return the permissions that the app lacks, as the answer names them."""
    detail = body.get("accessdenieddetail")
    scopes = detail.get("requiredScopes") if isinstance(detail, Mapping) else None
    return f"[{', '.join(map(str, scopes))}]" if isinstance(scopes, list) else ""
