"""DingTalk: four roads to a chat, tried in order until one surely delivers.

The session webhook that came with a person's last message; the Robot OpenAPI, to one person or to
a group; and, if the operator wants that, the webhook of a group's own robot.

https://open.dingtalk.com/document/orgapp/robot-reply-and-send-messages
https://open.dingtalk.com/document/orgapp/chatbots-send-one-on-one-chat-messages-in-batches
https://open.dingtalk.com/document/orgapp/the-robot-sends-a-group-message
https://open.dingtalk.com/document/robots/custom-robot-access
"""

import json
import time
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from deliveries.outbound import OutboundError
from deliveries.outcomes import Message, Outcome, Verdict
from platforms import pacing
from platforms.dingtalk import API_BASE, robot, sessions
from platforms.dingtalk.answers import (
    CHAT_GONE,
    CONTENT,
    ROBOT,
    SESSION,
    SESSION_GONE,
    THROTTLED_WAIT,
    USER_UNKNOWN,
    Answer,
    by_api,
    by_webhook,
    of_token_call,
    read,
)
from platforms.dingtalk.forms import (
    CONVERSATION,
    PERSON,
    TO_THE_ROBOT,
    ConfigForm,
    HomeForm,
)
from platforms.dingtalk.text import title_of, to_markdown
from platforms.dingtalk.wire import RoadWire
from platforms.incoming import no_credential
from platforms.parts import send_parts
from platforms.places import Place, place_of
from platforms.replies import unreached
from platforms.sender import Check, Sender
from platforms.splitting import Unit, split
from platforms.targets import bad_target, no_destination, no_text
from platforms.tokens import Grant, TokenWire, key_of, lifetime_of

# The roads by the names that attempts and the admin know them under.
BY_SESSION, TO_PERSON, TO_GROUP, BY_ROBOT = "session", "person", "group", "robot"

# With these a session webhook is gone for all that follow, and not for this text alone.
GONE = (401, 403, 404, 410)
# What has come to be of the chat; the home chat's trouble is the channel's.
OF_THE_CHAT = (CHAT_GONE.error_class, USER_UNKNOWN.error_class, "no_road")


@dataclass(slots=True)
class Journey:
    """Where the parts of a message go; a road that was found closed stays so for the next part."""

    chat_id: str
    is_group: bool = True
    staff_id: str = ""
    robot_code: str = ""
    session: sessions.Chat | None = None
    fault: Outcome | None = None  # of the channel, found on the way to a road that was open


class DingTalk(Sender):
    """Sends as Markdown; the attempt names the road, and why those before it were closed."""

    kind = "dingtalk"
    label = gettext_lazy("DingTalk")
    summary = gettext_lazy("Talks with people and groups as an app's robot.")
    check_calls = gettext_lazy(
        "As an app: an access token is fetched; nothing is sent. By a group's robot alone: a "
        "short test message is sent, as there is no other way."
    )
    # Advice of DingTalk's connectors; 15,000 bytes of parameters hold it with every escape.
    max_length = 3800
    unit = Unit.UTF16
    default_api_base = API_BASE

    Config = ConfigForm
    Home = HomeForm

    def secrets(self) -> tuple[str, ...]:
        """Return the secrets, and the part of the robot's address that is one."""
        token = robot.token_in(self._robot_url)
        return (*super().secrets(), token) if token else super().secrets()

    def called_address(self) -> str:
        """Return the address that Test connection will call, without the robot's token."""
        if self._is_app or not self._robot_url:
            return self.api_base
        parts = urlsplit(self._robot_url)
        return f"{parts.scheme}://{parts.netloc}"

    def send(self, message: Message) -> Outcome:
        """Send the text to the chat of the target or the home, on the first road that is open."""
        if not (self._is_app or self._robot_url):
            return no_credential()
        parts = split(to_markdown(message.text), self.max_length, self.unit)
        if not parts:
            return no_text()
        place = place_of(message, self.home)
        journey = self._journey(place)
        if isinstance(journey, Outcome):
            return journey
        wire = self._wire()

        def send_part(number: int, text: str) -> Outcome:
            return self._send_part(wire, journey, (message.id, number), text)

        outcome = send_parts(wire, message, parts, send_part)
        fault = journey.fault
        if fault and not outcome.faults_channel:
            error = outcome.error or wire.clean(fault.error)
            return replace(outcome, faults_channel=True, error=error)
        at_home = place.is_home and outcome.error_class in OF_THE_CHAT
        return replace(outcome, faults_channel=True) if at_home else outcome

    def check(self) -> Check:
        """Fetch a token as an app; say something as a robot."""
        if not (self._is_app or self._robot_url):
            return Check(False, no_credential().error)
        wire = self._wire()
        try:
            if self._is_app:
                grant = self._fetch(wire)
                if isinstance(grant, Outcome):
                    return Check(False, wire.reason(grant))
                return Check(True, _("DingTalk knows the app and its secret."))
            said = self._say_by_robot(wire, _("This is a test message from Hermes."))
        except OutboundError as error:
            return Check(False, wire.reason(error))
        if said.verdict != Verdict.DELIVERED:
            return Check(False, wire.reason(said))
        return Check(True, _("The robot has sent a test message."))

    @property
    def _client_id(self) -> str:
        return str(self.config.get("client_id") or "")

    @property
    def _is_app(self) -> bool:
        return bool(self._client_id and self.config.get("client_secret"))

    @property
    def _robot_url(self) -> str:
        return str(self.config.get("robot_url") or "")

    def _wire(self) -> RoadWire:
        secret = str(self.config.get("client_secret") or "")
        return RoadWire(
            self, key_of(self.kind, self.api_base, self._client_id, secret), self._fetch
        )

    def _fetch(self, wire: TokenWire) -> Grant | Outcome:
        """Fetch an access token."""
        document = {"appKey": self._client_id, "appSecret": self.config.get("client_secret", "")}
        answer = read(wire.post(f"{self.api_base}/v1.0/oauth2/accessToken", document))
        token = answer.body.get("accessToken")
        if answer.reply.status == 200 and isinstance(token, str) and token:
            return Grant(token, lifetime_of(answer.body.get("expireIn")))
        return of_token_call(answer)

    def _journey(self, place: Place) -> Journey | Outcome:
        """Return where a message goes, with what is known of the chat; a failure if nowhere."""
        if place.chat == TO_THE_ROBOT or (not place.chat and not self._is_app):
            return Journey(TO_THE_ROBOT) if self._robot_url else no_credential()
        if not place.chat:
            return no_destination("chat_id")
        person = PERSON.fullmatch(place.chat)
        if person:
            session = sessions.chat_with(self._client_id, person[1])
        else:
            session = sessions.chat_of(self._client_id, place.chat)
        if not (person or session or CONVERSATION.fullmatch(place.chat)):
            return bad_target("chat_id", place.chat)
        known = session.robot_code if session else ""
        return Journey(
            place.chat,
            # Of an unknown conversation only a group can be reached by its ID.
            is_group=not person and (session is None or session.is_group),
            staff_id=person[1] if person else session.staff_id if session else "",
            robot_code=known or str(self.config.get("robot_code") or self._client_id),
            session=session,
        )

    def _send_part(self, wire: RoadWire, journey: Journey, turn: Hashable, text: str) -> Outcome:
        """Send one part on the first road that is open; the next only if it surely did not go."""
        tried: list[tuple[str, Outcome]] = []
        for road, call in self._roads(wire, journey, turn, text):
            try:
                outcome = call()
            except OutboundError as error:
                outcome = unreached(error)
            if not _is_closed(outcome):
                return replace(outcome, provider_ids={"road": road, **outcome.provider_ids})
            wire.note_closed(road, outcome.error)
            if road == BY_SESSION:
                journey.session = None  # and its troubles are none of the channel's
            else:
                journey.fault = outcome if outcome.faults_channel else journey.fault
                tried.append((road, outcome))
        if not tried:
            return self._no_road(wire, journey)
        road, outcome = tried[-1]
        said = wire.closed if len(wire.closed) > 1 else [outcome.error]
        return replace(outcome, error=" ".join(said), provider_ids={"road": road})

    def _roads(
        self, wire: RoadWire, journey: Journey, turn: Hashable, text: str
    ) -> Iterator[tuple[str, Callable[[], Outcome]]]:
        """Yield the roads to a chat, best first: the first costs nothing of a quota."""
        if journey.chat_id == TO_THE_ROBOT:
            yield BY_ROBOT, lambda: self._by_robot(wire, turn, text)
            return
        session = journey.session
        if session and session.url:
            yield BY_SESSION, lambda: self._by_session(wire, session, text)
        elif session:
            wire.note_closed(BY_SESSION, session.why_not)
            journey.session = None
        if self._is_app and journey.is_group:
            place = {"openConversationId": journey.chat_id}
            yield TO_GROUP, lambda: self._by_api(wire, "groupMessages/send", journey, place, text)
        elif self._is_app and journey.staff_id:
            person = {"userIds": [journey.staff_id]}
            yield (
                TO_PERSON,
                lambda: self._by_api(wire, "oToMessages/batchSend", journey, person, text),
            )
        if self._robot_url and self.config.get("last_resort"):
            yield BY_ROBOT, lambda: self._by_robot(wire, turn, text)

    def _by_session(self, wire: RoadWire, session: sessions.Chat, text: str) -> Outcome:
        wire.hide_query(session.url)
        answer = read(wire.post(session.url, _letter(text)))
        outcome = by_webhook(answer, SESSION)
        is_gone = outcome.verdict == Verdict.FAILED and answer.reply.status in GONE
        if is_gone or outcome.error_class == SESSION_GONE.error_class:
            sessions.forget(session)
        return outcome

    def _by_api(
        self, wire: RoadWire, call: str, journey: Journey, place: Mapping[str, Any], text: str
    ) -> Outcome:
        letter = {
            "robotCode": journey.robot_code,
            **place,
            "msgKey": "sampleMarkdown",
            "msgParam": json.dumps({"title": title_of(text), "text": text}, ensure_ascii=False),
        }

        def post(token: str) -> Answer:
            headers = {"x-acs-dingtalk-access-token": token}
            return read(wire.post(f"{self.api_base}/v1.0/robot/{call}", letter, headers))

        answer = wire.with_token(post, lambda answer: answer.is_token_refused)
        return answer if isinstance(answer, Outcome) else by_api(answer)

    def _by_robot(self, wire: RoadWire, turn: Hashable, text: str) -> Outcome:
        key = pacing.key_of(self.kind, self._robot_url)
        if later := pacing.put_off(key, turn, robot.RATE):
            return later
        outcome = self._say_by_robot(wire, text)
        if outcome.retry_after == THROTTLED_WAIT:
            pacing.close(key, THROTTLED_WAIT)
        return outcome

    def _say_by_robot(self, wire: RoadWire, text: str) -> Outcome:
        """Post to the group's robot; once more by DingTalk's clock if ours was refused."""
        letter = _letter(robot.with_keyword(text, str(self.config.get("robot_keyword") or "")))

        def post(now: float) -> Answer:
            secret = str(self.config.get("robot_secret") or "")
            url = robot.signed_address(self._robot_url, secret, now)
            wire.hide_query(url)
            return read(wire.post(url, letter))

        answer = post(time.time())
        if (theirs := robot.clock_of(answer)) is not None:
            answer = post(theirs)
        return by_webhook(answer, ROBOT)

    def _no_road(self, wire: RoadWire, journey: Journey) -> Outcome:
        """Return the failure of a message that no road could even be tried for."""
        if not self._is_app:
            missing = _("The channel has no app credentials, and the robot is no last resort.")
        else:
            missing = _(
                "The Robot OpenAPI needs a staff ID, and whoever wrote there has none: somebody "
                "outside of the organisation. A new message from there opens the chat again."
            )
        said = _("No road leads to the chat %(chat)s.") % {"chat": journey.chat_id}
        error = " ".join([said, *wire.closed, missing])
        return Outcome.failed("no_road", error, faults_channel=not self._is_app)


def _letter(text: str) -> dict[str, Any]:
    """Return what a webhook is posted; nobody is called."""
    return {"msgtype": "markdown", "markdown": {"title": title_of(text), "text": text}}


def _is_closed(outcome: Outcome) -> bool:
    """Return whether another road may be tried: surely nothing came, and the text is no fault."""
    return (
        outcome.verdict == Verdict.FAILED
        and not outcome.ambiguous
        and outcome.error_class != CONTENT.error_class
    )
