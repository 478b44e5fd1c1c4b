"""Sessions with mail servers: encrypted ones, and those that go wrong."""

import base64
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deliveries.outcomes import Outcome, Verdict
from platforms import smtp
from platforms.senders.email import Email

from .mail_server import Mailbox, certificate, mail_server, server_context, talker
from .sender_case import text_message
from .test_email import FAILED, ME, PASSWORD, RETRY, TO, make

DELIVERED = Verdict.DELIVERED
HELLO = (b"220 mail.example.com ESMTP\r\n", b"250-mail.example.com\r\n250 8BITMIME\r\n")
TO_DATA = (*HELLO, b"250 OK\r\n", b"250 OK\r\n", b"354 Go ahead\r\n")


@pytest.fixture(autouse=True)
def allowed(settings: Any) -> None:
    settings.OUTBOUND_ALLOW_PRIVATE = True


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    with mail_server(Mailbox()) as mailbox:
        yield mailbox


@pytest.fixture
def trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give a certificate that Hermes trusts."""
    file = certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    smtp.tls_context.cache_clear()
    yield file
    smtp.tls_context.cache_clear()


class TestEncrypted:
    @pytest.fixture
    def starttls(self, trusted: Path) -> Iterator[Mailbox]:
        context = server_context(trusted)
        with mail_server(Mailbox(), tls_context=context, require_starttls=True) as mailbox:
            yield mailbox

    @pytest.fixture
    def tls(self, trusted: Path) -> Iterator[Mailbox]:
        options = {"ssl_context": server_context(trusted), "auth_require_tls": False}
        with mail_server(Mailbox(), **options) as mailbox:
            yield mailbox

    def sender(self, mailbox: Mailbox, security: str, **config: Any) -> Email:
        return make(mailbox.port, **{"security": security, "password": PASSWORD, **config})

    def test_it_signs_in_after_starttls(self, starttls: Mailbox) -> None:
        outcome = self.sender(starttls, "starttls").send(text_message(target=TO))
        assert outcome.verdict == DELIVERED
        assert [login.split()[1] for login in starttls.logins] == [ME]
        assert len(starttls.mails) == 1

    def test_starttls_is_the_rule(self, starttls: Mailbox) -> None:
        assert self.sender(starttls, "").send(text_message(target=TO)).verdict == DELIVERED

    def test_it_signs_in_under_tls(self, tls: Mailbox) -> None:
        sender = self.sender(tls, "tls", username="someone")
        tls.login = ("someone", PASSWORD)
        assert sender.send(text_message(target=TO)).verdict == DELIVERED

    @pytest.mark.parametrize(
        ("said", "verdict", "error_class", "faults"),
        [
            ("535 5.7.8 Bad credentials", FAILED, "unauthorized", True),
            ("534 5.7.9 Use an app password", FAILED, "unauthorized", True),
            ("530 5.7.0 Must sign in first", FAILED, "unauthorized", True),
            ("454 4.7.0 Temporary failure", RETRY, "temporary", False),
            ("421 Too many logins", RETRY, "temporary", False),
        ],
    )
    def test_a_refused_login(
        self, tls: Mailbox, said: str, verdict: Verdict, error_class: str, faults: bool
    ) -> None:
        tls.replies["login"] = said
        outcome = self.sender(tls, "tls").send(text_message(target=TO))
        assert (outcome.verdict, outcome.error_class) == (verdict, error_class)
        assert outcome.faults_channel == faults
        assert not self.sender(tls, "tls").check().ok

    @pytest.mark.parametrize("password", ["wrong", "pässwörd"])
    def test_a_wrong_password(self, tls: Mailbox, password: str) -> None:
        outcome = self.sender(tls, "tls", password=password).send(text_message(target=TO))
        assert (outcome.verdict, outcome.error_class) == (FAILED, "unauthorized")
        assert outcome.faults_channel

    def test_a_check_signs_in_and_sends_nothing(self, tls: Mailbox) -> None:
        check = self.sender(tls, "tls").check()
        assert check.ok
        assert f"127.0.0.1:{tls.port}" in check.detail
        assert len(tls.logins) == 1
        assert tls.mails == []

    def test_a_certificate_that_nobody_vouches_for(self, tmp_path: Path) -> None:
        context = server_context(certificate(tmp_path))
        with mail_server(Mailbox(), tls_context=context) as mailbox:
            sender = self.sender(mailbox, "starttls")
            outcome = sender.send(text_message(target=TO))
            assert not sender.check().ok
        assert (outcome.verdict, outcome.error_class) == (FAILED, "tls")
        assert outcome.faults_channel
        assert mailbox.logins == mailbox.mails == []

    def test_a_server_without_starttls_gets_no_password(self, mailbox: Mailbox) -> None:
        outcome = self.sender(mailbox, "starttls").send(text_message(target=TO))
        assert (outcome.verdict, outcome.error_class) == (FAILED, "tls")
        assert outcome.faults_channel
        assert mailbox.logins == mailbox.mails == []

    def test_a_server_that_speaks_no_tls(self, mailbox: Mailbox) -> None:
        outcome = self.sender(mailbox, "tls").send(text_message(target=TO))
        assert outcome.verdict != DELIVERED
        assert mailbox.mails == []

    def test_in_the_clear_nobody_signs_in(self) -> None:
        with mail_server(Mailbox(), auth_require_tls=False) as mailbox:
            outcome = self.sender(mailbox, "none").send(text_message(target=TO))
        assert outcome.verdict == DELIVERED
        assert mailbox.logins == []

    def test_no_secret_is_kept(self, tls: Mailbox, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG)
        plain = base64.b64encode(f"\0{ME}\0{PASSWORD}".encode()).decode()
        tls.replies["login"] = f"535 bad credentials {PASSWORD} {plain}"
        sender = self.sender(tls, "tls")
        outcome = sender.send(text_message(f"It is {PASSWORD}", target=TO))
        found = repr(sender.check())
        logged = [one.getMessage() for one in caplog.records if one.name != "mail.log"]
        for text in (repr(outcome), found, *logged):
            assert PASSWORD not in text
            assert plain not in text
        assert PASSWORD in sender.secrets()

    def test_it_is_not_kept_of_a_mail_that_arrived(self, tls: Mailbox) -> None:
        outcome = self.sender(tls, "tls").send(text_message(f"It is {PASSWORD}", target=TO))
        assert outcome.verdict == DELIVERED
        assert PASSWORD not in repr(outcome)


class TestBroken:
    def send(self, *lines: bytes, drip: float = 0, budget: float = 3.0) -> Outcome:
        with talker(*lines, drip=drip) as port:
            sender = make(port)
            sender.budget = budget
            return sender.send(text_message(target=TO))

    @pytest.mark.parametrize("stage", range(1, 5))
    def test_a_connection_that_breaks_before_the_text_is_surely_not_sent(self, stage: int) -> None:
        outcome = self.send(*TO_DATA[:stage])
        assert (outcome.verdict, outcome.error_class) == (RETRY, "reset")
        assert not outcome.ambiguous

    def test_a_connection_that_breaks_after_the_text_is_perhaps_arrived(self) -> None:
        outcome = self.send(*TO_DATA)
        assert (outcome.verdict, outcome.error_class) == (RETRY, "reset")
        assert outcome.ambiguous

    def test_an_answer_to_the_text_that_is_none_is_perhaps_arrived(self) -> None:
        outcome = self.send(*TO_DATA, b"<html>\r\n")
        assert (outcome.verdict, outcome.error_class) == (RETRY, "bad_reply")
        assert outcome.ambiguous

    @pytest.mark.parametrize("lines", [(), HELLO[:1], TO_DATA])
    def test_a_server_that_drips_does_not_outlast_the_budget(self, lines: tuple[bytes]) -> None:
        outcome = self.send(*lines, b"2", drip=0.05, budget=0.4)
        assert (outcome.verdict, outcome.error_class) == (RETRY, "timeout")
        assert outcome.ambiguous == (lines == TO_DATA)

    def test_a_server_that_never_ends_its_answer_is_left(self) -> None:
        outcome = self.send(HELLO[0], b"250-" + b"x" * 60_000 + b"\r\n", drip=0.001)
        assert outcome.verdict == RETRY

    def test_an_endless_list_of_lines_is_left(self) -> None:
        outcome = self.send(HELLO[0], b"250-x\r\n" * 9000, drip=0.001)
        assert (outcome.verdict, outcome.error_class) == (RETRY, "reset")

    @pytest.mark.parametrize(
        "greeting", [b"421 Busy\r\n", b"554 Not for you\r\n", b"HTTP/1.1 400 Bad Request\r\n\r\n"]
    )
    def test_a_server_that_does_not_greet_is_asked_again(self, greeting: bytes) -> None:
        outcome = self.send(greeting)
        assert outcome.verdict == RETRY
        assert outcome.error_class in ("temporary", "bad_reply")

    def test_nobody_listening_is_surely_not_sent(self) -> None:
        outcome = make(9).send(text_message(target=TO))
        assert (outcome.verdict, outcome.error_class) == (RETRY, "connect")
        assert not outcome.ambiguous
        assert not make(9).check().ok

    def test_a_name_that_nobody_knows_is_asked_for_again(self) -> None:
        sender = make(25, smtp_host="mail.invalid")
        outcome = sender.send(text_message(target=TO))
        assert (outcome.verdict, outcome.error_class) == (RETRY, "dns")

    @pytest.mark.parametrize("host", ["127.0.0.1", "169.254.169.254", "localhost", "2130706433"])
    def test_a_server_inside_is_refused_and_flags_the_channel(
        self, settings: Any, host: str
    ) -> None:
        settings.OUTBOUND_ALLOW_PRIVATE = False
        outcome = make(2525, smtp_host=host).send(text_message(target=TO))
        assert (outcome.verdict, outcome.error_class) == (FAILED, "blocked")
        assert outcome.faults_channel
