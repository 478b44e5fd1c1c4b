"""Email: plain text by SMTP, one message for each recipient."""

import re
import time
from dataclasses import replace
from email.headerregistry import Address, HeaderRegistry, MessageIDHeader
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import Any

import idna
from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from deliveries.outbound import OutboundError
from deliveries.outcomes import Message, Outcome, Verdict
from platforms.fields import SecretField
from platforms.mail_addresses import addresses_of, validate_addresses, validate_host
from platforms.places import place_of
from platforms.replies import BAD_REPLY, DETAIL_LENGTH, UNAUTHORIZED, Meaning, unreached
from platforms.sender import Check, Sender
from platforms.smtp import Refused, Security, Server, Session, Stage
from platforms.splitting import Unit, sendable
from platforms.targets import bad_target, no_destination, no_text, value_of
from platforms.wire import EXCERPT
from vault.redaction import redact

MESSAGE_ID = re.compile(r"<?[!-;=?A-~]{1,200}@[!-;=?A-~]{1,200}>?")
ENHANCED_POLICY = re.compile(r"\b5\.7\.\d{1,3}\b")
MARKUP = re.compile(r"^[#>*_~`\s-]+|[*_~`]+")
MOST_RECIPIENTS = 50
SUBJECT_LENGTH = 150  # characters
GREYLISTED = 300.0  # seconds: who comes back sooner is turned away again
TLS_PORT = 465
NO_CODE = -1  # smtplib's, for an answer that does not begin with one
# The standard library takes these for text, and encodes a long id so that nobody recognises it.
HEADERS = HeaderRegistry()
for _name in ("references", "in-reply-to"):
    HEADERS.map_to_type(_name, MessageIDHeader)  # type: ignore[arg-type]  # typeshed's is narrower
HERE = SMTP.clone(cte_type="7bit", header_factory=HEADERS)  # not every server takes more bits

TEMPORARY = Meaning(Verdict.RETRY, "temporary")
NO_TLS = Meaning(Verdict.FAILED, "tls", faults_channel=True)
POLICY = Meaning(Verdict.FAILED, "forbidden", faults_channel=True)
RECIPIENT = Meaning(Verdict.FAILED, "recipient_refused")
REJECTED = Meaning(Verdict.FAILED, "rejected")


class Email(Sender):
    """Sends with the delivery's id as Message-ID, by which mailboxes may know a repeat."""

    kind = "email"
    addresses = ("smtp_host",)
    label = gettext_lazy("Email")
    summary = gettext_lazy("Sends mails by a mail server of yours.")
    check_calls = gettext_lazy("The server is connected to and signed in at. Nothing is sent.")
    max_length = 1_000_000
    unit = Unit.BYTES
    advanced = ("security", "username")

    class Config(forms.Form):
        address = forms.EmailField(
            label=gettext_lazy("From"), help_text=gettext_lazy("The address that mails come from.")
        )
        sender_name = forms.CharField(
            label=gettext_lazy("Name"), required=False, max_length=100, initial="Hermes"
        )
        smtp_host = forms.CharField(
            label=gettext_lazy("Mail server"),
            validators=[validate_host],
            help_text=gettext_lazy("The password goes there."),
        )
        smtp_port = forms.IntegerField(
            label=gettext_lazy("Port"), min_value=1, max_value=65535, initial=587, required=False
        )
        password = SecretField(
            label=gettext_lazy("Password"),
            required=False,
            strip=False,
            help_text=gettext_lazy("Often an “app password”. Empty: nobody signs in."),
        )
        security = forms.ChoiceField(
            label=gettext_lazy("Encryption"),
            required=False,
            choices=[
                ("", gettext_lazy("by the port: TLS at 465, else STARTTLS")),
                (Security.TLS.value, gettext_lazy("TLS")),
                (Security.STARTTLS.value, gettext_lazy("STARTTLS")),
                (Security.NONE.value, gettext_lazy("none; the password is not sent then")),
            ],
        )
        username = forms.CharField(
            label=gettext_lazy("User"),
            required=False,
            help_text=gettext_lazy("Empty: the address."),
        )

    class Home(forms.Form):
        chat_id = forms.CharField(
            label=gettext_lazy("To"),
            required=False,
            validators=[validate_addresses],
            help_text=gettext_lazy(
                "Where mails go when a route names no chat_id: an address, or several with commas."
            ),
        )

    def send(self, message: Message) -> Outcome:
        """Send the text to each recipient of the target or the home who has not got it yet."""
        place = place_of(message, self.home)
        if not place.chat:
            return no_destination("chat_id")
        try:
            recipients = addresses_of(place.chat)
        except (ValidationError, idna.IDNAError):
            recipients = []
        if not 0 < len(recipients) <= MOST_RECIPIENTS:
            return bad_target("chat_id", place.chat)
        if place.thread and not MESSAGE_ID.fullmatch(place.thread):
            return bad_target("thread_id", place.thread)
        text = self._bounded(sendable(message.text))
        if not text.strip():
            return no_text()
        letter = self._letter(message, text, place.thread)
        session = Session(self._server(), time.monotonic() + self.budget)
        try:
            session.open()
            outcome = self._send_each(session, message, letter, recipients)
        except (Refused, OutboundError) as error:
            outcome = _failure(error, dict(message.progress))
        finally:
            session.leave()
        if place.is_home and outcome.error_class == RECIPIENT.error_class:
            outcome = replace(outcome, faults_channel=True)
        return self._recorded(outcome, letter, recipients)

    def check(self) -> Check:
        """Connect and sign in."""
        session = Session(self._server(), time.monotonic() + self.budget)
        try:
            session.open()
        except (Refused, OutboundError) as error:
            return Check(False, self._clean(_failure(error, {}).error))
        finally:
            session.leave()
        return Check(True, _("The mail server %s takes the connection.") % self.called_address())

    def called_address(self) -> str:
        """Return the mail server."""
        server = self._server()
        return f"{server.host}:{server.port}"

    def secrets(self) -> tuple[str, ...]:
        """Return the password, and what the AUTH command makes of it."""
        server = self._server()
        if not server.password:
            return ()
        return (server.password, f"\0{server.user}\0{server.password}")

    def _server(self) -> Server:
        config = self.config
        port = int(config.get("smtp_port") or 587)
        by_port = Security.TLS if port == TLS_PORT else Security.STARTTLS
        return Server(
            host=str(config.get("smtp_host", "")),
            port=port,
            security=Security(config.get("security") or by_port),
            user=str(config.get("username") or config.get("address", "")),
            password=str(config.get("password", "")),
            policy=self.policy,
        )

    def _letter(self, message: Message, text: str, thread: str) -> EmailMessage:
        """Return the mail without what is each recipient's own."""
        letter = EmailMessage(policy=HERE)
        letter["From"] = Address(_line(str(self.config.get("sender_name", ""))), addr_spec=self._me)
        letter["Subject"] = _line(value_of(message.target, "subject"))[:SUBJECT_LENGTH] or _subject(
            text
        )
        letter["Date"] = format_datetime(message.created_at)
        letter["Auto-Submitted"] = "auto-generated"  # RFC 3834: no out-of-office replies
        if thread:
            letter["In-Reply-To"] = letter["References"] = f"<{thread.strip('<>')}>"
        elif message.conversation_id:
            # A message that nobody sent; what refers to it is shown as one conversation.
            letter["References"] = f"<{message.conversation_id}@{self._domain}>"
        letter.set_content(text)
        return letter

    def _send_each(
        self, session: Session, message: Message, letter: EmailMessage, recipients: list[str]
    ) -> Outcome:
        """Hand the mail in for one after the other, up to a failure that concerns them all.

        The progress keeps who got it (``sent_to``) and who never will (``refused``).
        """
        sent = [one for one in message.progress.get("sent_to", []) if one in recipients]
        refused = dict(message.progress.get("refused", {}))
        ids, put_off, said = [], None, ""
        for number, recipient in enumerate(recipients, start=1):
            if recipient in sent or recipient in refused:
                continue
            message_id = f"<{message.id}.{number}@{self._domain}>"
            for name, value in (("To", recipient), ("Message-ID", message_id)):
                del letter[name]
                letter[name] = value
            try:
                said = session.hand_in(self._me, recipient, letter.as_bytes())
            except (Refused, OutboundError) as error:
                progress = {"sent_to": sent, "refused": refused}
                outcome = _failure(error, progress)
                is_own = isinstance(error, Refused) and error.stage is not Stage.SENDER
                if outcome.faults_channel or not is_own:
                    return outcome
                if outcome.verdict == Verdict.RETRY:
                    put_off = outcome
                else:
                    refused[recipient] = f"{recipient}: {outcome.error}"[:DETAIL_LENGTH]
                continue
            sent.append(recipient)
            ids.append(message_id)
        facts: dict[str, Any] = {"provider_ids": {"message_id": ids} if ids else {}}
        if put_off:
            return replace(put_off, progress={"sent_to": sent, "refused": refused}, **facts)
        if refused:
            # Redelivered by hand, it goes to those who were refused.
            facts["progress"] = {"sent_to": sent, "refused": {}}
            return Outcome.failed("recipient_refused", " ".join(refused.values()), **facts)
        progress = {"sent_to": [], "refused": {}} if message.progress else {}
        return Outcome.delivered(progress=progress, response=said, **facts)

    def _recorded(self, outcome: Outcome, letter: EmailMessage, recipients: list[str]) -> Outcome:
        """Return the outcome with what was sent, every secret taken out."""
        head = f"SMTP {self.called_address()}\nFrom: {self._me}\nTo: {', '.join(recipients)}"
        request = f"{head}\nSubject: {letter['Subject']}\n\n{letter.get_content()}"
        return replace(
            outcome,
            error=self._clean(outcome.error),
            request=self._clean(request)[:EXCERPT],
            response=self._clean(outcome.response)[:EXCERPT],
        )

    def _clean(self, text: str) -> str:
        return sendable(redact(text, self.secrets()))

    @property
    def _me(self) -> str:
        return addresses_of(str(self.config.get("address", "")))[0]

    @property
    def _domain(self) -> str:
        return self._me.rpartition("@")[2]

    def _bounded(self, text: str) -> str:
        if self.unit.size(text) <= self.max_length:
            return text
        notice = "\n" + _("… the rest was left out: the message is too long.")
        return self.unit.head(text, self.max_length - self.unit.size(notice)) + notice


def _line(text: str) -> str:
    """Return a text as one line, as headers must be."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _subject(text: str) -> str:
    """Return the first line that says something, without its markup."""
    for line in text.splitlines():
        if subject := _line(MARKUP.sub("", line)):
            return subject if len(subject) <= SUBJECT_LENGTH else subject[:SUBJECT_LENGTH] + "…"
    return _("Message")


def _failure(error: Refused | OutboundError, progress: dict[str, Any]) -> Outcome:
    if isinstance(error, OutboundError):
        return replace(unreached(error), progress=progress)
    meaning = _meaning(error)
    words = {"code": error.code, "words": error.words[:DETAIL_LENGTH]}
    said = _("The mail server said %(code)s: %(words)s") % words if error.code else error.words
    return Outcome(
        meaning.verdict,
        meaning.error_class,
        said,
        retry_after=GREYLISTED if meaning.verdict == Verdict.RETRY else None,
        faults_channel=meaning.faults_channel,
        ambiguous=meaning.ambiguous,
        progress=progress,
        response=f"{error.code} {error.words}" if error.code else "",
    )


def _meaning(refusal: Refused) -> Meaning:
    """Return what a refusal means, by where in the session it came (RFC 5321 §4.2.3)."""
    code = refusal.code
    if code == NO_CODE:
        return BAD_REPLY
    if 400 <= code < 500 or (refusal.stage is Stage.GREETING and code):
        return TEMPORARY
    match refusal.stage:
        case Stage.GREETING | Stage.STARTTLS:
            return NO_TLS
        case Stage.LOGIN:
            return UNAUTHORIZED
    if code == 530:
        return UNAUTHORIZED
    if code == 550 and ENHANCED_POLICY.search(refusal.words):
        return POLICY
    if refusal.stage is Stage.SENDER and code in (550, 551, 553):
        return POLICY  # it is the address of the channel that is refused
    if code in (550, 551, 553):
        return RECIPIENT
    return REJECTED
