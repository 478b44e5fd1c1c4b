import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from email.message import EmailMessage
from typing import Any
from uuid import UUID

import pytest

from deliveries.outcomes import Outcome, Verdict
from platforms.senders.email import Email

from .mail_server import Mailbox, mail_server
from .sender_case import text_message

ME, PASSWORD = "hermes@example.com", "app password"
TO = {"chat_id": "ops@example.org"}
DELIVERED, RETRY, FAILED = Verdict.DELIVERED, Verdict.RETRY, Verdict.FAILED
ID = UUID("01930b1e-7c00-7000-8000-000000000001")


@pytest.fixture(autouse=True)
def allowed(settings: Any) -> None:
    settings.OUTBOUND_ALLOW_PRIVATE = True


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    with mail_server(Mailbox()) as mailbox:
        yield mailbox


def make(port: int, **config: Any) -> Email:
    facts = {"address": ME, "smtp_host": "127.0.0.1", "smtp_port": port, "security": "none"}
    return Email({**facts, **config})


def send(mailbox: Mailbox, text: str = "Hello", **facts: Any) -> Outcome:
    return make(mailbox.port).send(text_message(text, **{"target": TO, **facts}))


def text_of(mail: EmailMessage) -> str:
    text: str = mail.get_content()
    return text.replace("\r\n", "\n")


def test_a_mail_arrives_as_written(mailbox: Mailbox) -> None:
    created = datetime(2026, 11, 20, 21, 0, tzinfo=UTC)
    outcome = send(mailbox, "# Deploy of **main**\n\n.\n..two\n界 😀", id=ID, created_at=created)
    assert outcome.verdict == DELIVERED
    assert outcome.error == outcome.error_class == ""
    [(recipient, mail)] = mailbox.mails
    assert recipient == mail["To"] == "ops@example.org"
    assert mail["From"] == ME
    assert mail["Subject"] == "Deploy of main"
    assert mail["Date"].datetime == created
    assert mail["Message-ID"] == f"<{ID}.1@example.com>"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert text_of(mail) == "# Deploy of **main**\n\n.\n..two\n界 😀\n"
    assert outcome.provider_ids == {"message_id": [f"<{ID}.1@example.com>"]}
    assert "Queued as 42" in outcome.response
    assert "Subject: Deploy of main" in outcome.request


def test_a_repeat_has_the_same_id_and_date(mailbox: Mailbox) -> None:
    message = text_message(target=TO)
    for _try in range(2):
        make(mailbox.port).send(message)
    (_to, first), (_to, second) = mailbox.mails
    assert first["Message-ID"] == second["Message-ID"]
    assert first["Date"] == second["Date"]


@pytest.mark.parametrize(
    ("target", "text", "subject"),
    [
        ({"subject": "Build #7 failed"}, "text", "Build #7 failed"),
        ({"subject": "{build.name}"}, "- first\nsecond", "first"),
        ({"subject": "a\r\nBcc: x@example.com"}, "text", "a Bcc: x@example.com"),
        ({"subject": "\x00\u202e"}, "text", "text"),
        ({}, "\n\n`x` is **down**\nmore", "x is down"),
        ({}, "***", "Message"),
        ({}, "snake_case", "snakecase"),
        ({}, "界" * 400, "界" * 150 + "…"),
    ],
)
def test_the_subject_is_the_targets_or_the_first_line(
    mailbox: Mailbox, target: dict[str, str], text: str, subject: str
) -> None:
    send(mailbox, text, target={**TO, **target})
    [(_to, mail)] = mailbox.mails
    assert mail["Subject"] == subject
    assert mail["Bcc"] is None


@pytest.mark.parametrize(
    "reference",
    [
        "<CAF1@mail.gmail.com>",
        "CAF1@mail.gmail.com",
        "<AM0PR04MB1234567890ABCDEF1234567890ABCDEF1234567890ABCDE@AM0PR04.prod.outlook.com>",
    ],
)
@pytest.mark.parametrize("name", ["thread_id", "message_thread_id"])
def test_a_thread_is_answered(mailbox: Mailbox, name: str, reference: str) -> None:
    send(mailbox, target={**TO, name: reference})
    [(_to, mail)] = mailbox.mails
    assert mail["In-Reply-To"] == mail["References"] == f"<{reference.strip('<>')}>"


def test_the_mails_of_a_conversation_belong_together(mailbox: Mailbox) -> None:
    send(mailbox, conversation_id=ID)
    [(_to, mail)] = mailbox.mails
    assert mail["References"] == f"<{ID}@example.com>"
    assert mail["In-Reply-To"] is None


@pytest.mark.parametrize("target", [{"chat_id": "{pr.mail}"}, {"chat_id": ""}, {}])
def test_without_a_target_the_home_gets_it(mailbox: Mailbox, target: dict[str, str]) -> None:
    sender = make(mailbox.port)
    sender.home = {"chat_id": "home@example.org, Second@Bücher.example"}
    assert sender.send(text_message(target=target)).verdict == DELIVERED
    assert [to for to, _mail in mailbox.mails] == [
        "home@example.org",
        "Second@xn--bcher-kva.example",
    ]


def test_without_a_recipient_anywhere_the_channel_is_flagged(mailbox: Mailbox) -> None:
    outcome = send(mailbox, target={"chat_id": "{x}"})
    assert (outcome.verdict, outcome.error_class) == (FAILED, "no_destination")
    assert outcome.faults_channel


@pytest.mark.parametrize(
    "target",
    [
        {"chat_id": "ops"},
        {"chat_id": "a@example.org,,b@example.org"},
        {"chat_id": "a@example.org\r\nDATA"},
        {"chat_id": "Ops <ops@example.org>"},
        {"chat_id": ",".join(f"a{n}@example.org" for n in range(51))},
        {"chat_id": "ops@example.org", "thread_id": "not an id"},
        {"chat_id": "ops@example.org", "thread_id": "a@b>\r\nBcc: c@d"},
    ],
)
def test_a_target_that_is_no_address_is_refused(mailbox: Mailbox, target: dict[str, str]) -> None:
    outcome = send(mailbox, target=target)
    assert (outcome.verdict, outcome.error_class) == (FAILED, "bad_target")
    assert mailbox.mails == []


@pytest.mark.parametrize("text", ["", "  \n\t ", "\x00"])
def test_a_message_without_text_is_refused(mailbox: Mailbox, text: str) -> None:
    assert send(mailbox, text).error_class == "empty_message"
    assert mailbox.mails == []


@pytest.mark.parametrize("text", ["x" * 3000, "half \ud83d pair \x00\x07\x1b[31m", "a\r\nb\rc\n"])
def test_a_strange_text_arrives(mailbox: Mailbox, text: str) -> None:
    outcome = send(mailbox, text)
    assert outcome.verdict == DELIVERED
    assert len(mailbox.mails) == 1
    (outcome.request + outcome.error).encode()
    assert "\x00" not in outcome.request


def test_more_than_a_megabyte_is_cut(mailbox: Mailbox) -> None:
    assert send(mailbox, "界" * 400_000).verdict == DELIVERED
    [(_to, mail)] = mailbox.mails
    content = text_of(mail)
    assert len(content.encode()) <= 1_000_001
    assert content.endswith("too long.\n")


@pytest.mark.parametrize(
    ("stage", "reply", "verdict", "error_class", "faults"),
    [
        *[
            (stage, f"{code} Try later", RETRY, "temporary", False)
            for stage in ("sender", "recipient", "data")
            for code in (421, 450, 451, 452, 454)
        ],
        *[("recipient", f"{c} No such user", FAILED, "recipient_refused", False) for c in (550,)],
        ("recipient", "551 User not local", FAILED, "recipient_refused", False),
        ("recipient", "553 Bad mailbox", FAILED, "recipient_refused", False),
        ("recipient", "550 5.1.1 Unknown", FAILED, "recipient_refused", False),
        ("recipient", "550 5.7.1 Relaying denied", FAILED, "forbidden", True),
        ("recipient", "530 5.7.0 Authentication required", FAILED, "unauthorized", True),
        ("recipient", "552 Mailbox full", FAILED, "recipient_refused", False),
        ("recipient", "554 Rejected", FAILED, "recipient_refused", False),
        ("data", "552 Too big", FAILED, "recipient_refused", False),
        ("data", "554 Looks like spam", FAILED, "recipient_refused", False),
        ("data", "550 5.7.26 Unauthenticated", FAILED, "forbidden", True),
        ("sender", "530 Authentication required", FAILED, "unauthorized", True),
        ("sender", "535 Not signed in", FAILED, "rejected", False),
        ("sender", "550 Not your address", FAILED, "forbidden", True),
        ("sender", "553 Not your address", FAILED, "forbidden", True),
        ("sender", "552 Too big", FAILED, "rejected", False),
        ("sender", "554 Rejected", FAILED, "rejected", False),
    ],
)
def test_what_the_server_says_becomes_a_verdict(
    mailbox: Mailbox, stage: str, reply: str, verdict: Verdict, error_class: str, faults: bool
) -> None:
    mailbox.replies[stage] = reply
    outcome = send(mailbox)
    assert (outcome.verdict, outcome.error_class) == (verdict, error_class)
    assert outcome.faults_channel == faults
    assert not outcome.ambiguous
    assert reply[4:] in outcome.error
    # A greylisting server turns away who comes back before five minutes.
    assert outcome.retry_after == (300 if verdict == RETRY else None)


def test_a_refused_home_is_the_channels(mailbox: Mailbox) -> None:
    mailbox.replies["recipient"] = "550 No such user"
    sender = make(mailbox.port)
    sender.home = TO
    assert sender.send(text_message()).faults_channel


def test_one_refused_recipient_keeps_no_other_from_getting_it(mailbox: Mailbox) -> None:
    mailbox.replies["b@example.org"] = "550 No such user"
    target = {"chat_id": "a@example.org, b@example.org, c@example.org"}
    outcome = send(mailbox, target=target)
    assert (outcome.verdict, outcome.error_class) == (FAILED, "recipient_refused")
    assert "b@example.org" in outcome.error
    assert [to for to, _mail in mailbox.mails] == ["a@example.org", "c@example.org"]
    assert len({mail["Message-ID"] for _to, mail in mailbox.mails}) == 2

    # Sent again by hand, it goes to the one who was refused.
    mailbox.replies.clear()
    again = send(mailbox, target=target, progress=outcome.progress)
    assert again.verdict == DELIVERED
    assert [to for to, _mail in mailbox.mails[2:]] == ["b@example.org"]
    assert again.progress == {"sent_to": [], "refused": {}}


def test_a_retry_goes_to_those_who_did_not_get_it(mailbox: Mailbox) -> None:
    mailbox.replies |= {"b@example.org": "450 Greylisted", "c@example.org": "550 No such user"}
    message = text_message(target={"chat_id": "a@example.org,b@example.org,c@example.org"})
    failed = make(mailbox.port).send(message)
    assert (failed.verdict, failed.error_class) == (RETRY, "temporary")
    assert [to for to, _mail in mailbox.mails] == ["a@example.org"]

    mailbox.replies.clear()
    again = make(mailbox.port).send(replace(message, progress=failed.progress))
    assert again.verdict == FAILED
    assert "c@example.org" in again.error
    assert [to for to, _mail in mailbox.mails[1:]] == ["b@example.org"]


@pytest.mark.parametrize(
    ("config", "good"),
    [
        ({}, True),
        ({"smtp_port": "465", "security": "tls", "password": "a b c"}, True),
        ({"security": "none"}, True),
        ({"smtp_host": "127.0.0.1"}, False),
        ({"smtp_host": "10.1.2.3"}, False),
        ({"smtp_host": "smtp.example.com:587"}, False),
        ({"smtp_host": "https://smtp.example.com"}, False),
        ({"address": "hermes"}, False),
        ({"smtp_port": "0"}, False),
        ({"security": "ssl3"}, False),
    ],
)
def test_the_form_knows_a_mail_server(settings: Any, config: dict[str, str], good: bool) -> None:
    settings.OUTBOUND_ALLOW_PRIVATE = False
    facts = {"address": ME, "smtp_host": "93.184.216.34", "smtp_port": "587"}
    assert Email.Config({**facts, **config}).is_valid() == good


def test_a_password_keeps_its_spaces() -> None:
    form = Email.Config({"address": ME, "smtp_host": "93.184.216.34", "password": " a b "})
    assert form.is_valid()
    assert form.cleaned_data["password"] == " a b "


@pytest.mark.parametrize(
    ("home", "good"),
    [
        ({"chat_id": "ops@example.org"}, True),
        ({"chat_id": "a@example.org, b@bücher.example"}, True),
        ({}, True),
        ({"chat_id": "ops"}, False),
        ({"chat_id": "a@example.org;b@example.org"}, False),
    ],
)
def test_the_form_knows_addresses(home: dict[str, str], good: bool) -> None:
    assert Email.Home(home).is_valid() == good


def test_a_stored_password_does_not_follow_to_another_server() -> None:
    stored = {"address": ME, "smtp_host": "a.example", "password": PASSWORD}
    moved = Email.prepare_config(stored, {"address": ME, "smtp_host": "b.example", "password": ""})
    assert "password" not in moved
    same = Email.prepare_config(stored, {"address": ME, "smtp_host": "a.example", "password": ""})
    assert same["password"] == PASSWORD


def test_the_port_says_how_a_session_is_encrypted() -> None:
    def security(port: int, **config: Any) -> str:
        return make(port, **{"security": "", **config})._server().security.value

    assert security(465) == "tls"
    assert security(587) == "starttls"
    assert security(25, security="tls") == "tls"


def test_the_message_id_is_written_as_rfc_5322_wants_it() -> None:
    letter = make(25)._letter(text_message(target=TO, conversation_id=ID), "x", "")
    assert re.search(rf"^References: <{ID}@example\.com>\r?$", letter.as_string(), re.MULTILINE)
