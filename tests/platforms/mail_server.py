"""Mail servers at the other end of the wire: one that speaks SMTP, and some that do not."""

import datetime
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


@dataclass
class Mailbox:
    """Takes mail; ``replies`` says otherwise for a stage, or for a stage and an address."""

    replies: dict[str, str] = field(default_factory=dict)
    login: tuple[str, str] = ("hermes@example.com", "app password")
    mails: list[tuple[str, EmailMessage]] = field(default_factory=list)
    logins: list[str] = field(default_factory=list)
    port: int = 0

    async def handle_MAIL(
        self, _server: Any, _session: Any, envelope: Any, address: str, options: list[str]
    ) -> str:
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return self.replies.get("sender", "250 OK")

    async def handle_RCPT(
        self, _server: Any, _session: Any, envelope: Any, address: str, _options: list[str]
    ) -> str:
        reply = self.replies.get(address) or self.replies.get("recipient", "250 OK")
        if reply.startswith("25"):
            envelope.rcpt_tos.append(address)
        return reply

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:
        reply = self.replies.get("data", "250 Queued as 42")
        if reply.startswith("250"):
            mail = message_from_bytes(envelope.content, policy=default)
            assert isinstance(mail, EmailMessage)
            self.mails.extend((address, mail) for address in envelope.rcpt_tos)
        return reply

    def authenticate(
        self, _server: Any, _session: Any, _envelope: Any, mechanism: str, data: LoginPassword
    ) -> AuthResult:
        self.logins.append(f"{mechanism} {data.login.decode()}")
        if said := self.replies.get("login"):
            return AuthResult(success=False, handled=False, message=said)
        good = (data.login.decode(), data.password.decode()) == self.login
        return AuthResult(success=good, handled=False)


@contextmanager
def mail_server(mailbox: Mailbox, **options: Any) -> Iterator[Mailbox]:
    """Serve a mailbox on a free port until the block ends."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        mailbox.port = free.getsockname()[1]
    controller = Controller(
        mailbox,
        hostname="127.0.0.1",
        port=mailbox.port,
        authenticator=mailbox.authenticate,
        decode_data=False,
        **options,
    )
    controller.start()
    try:
        yield mailbox
    finally:
        controller.stop()


@contextmanager
def talker(*lines: bytes, drip: float = 0) -> Iterator[int]:
    """Serve what is no good mail server; yield its port.

    Each line is said in answer to the next thing that is heard, the first at once; after the
    last one the connection is closed, or with a ``drip`` the last one goes out byte by byte
    for ever, at so many seconds.
    """
    closing = threading.Event()
    server = socket.create_server(("127.0.0.1", 0))

    def speak() -> None:
        try:
            connection, _address = server.accept()
        except OSError:
            return
        with connection:
            for number, line in enumerate(lines):
                if number:
                    _heard(connection)
                if drip and number == len(lines) - 1:
                    while not closing.is_set():
                        connection.sendall(line)
                        time.sleep(drip)
                    return
                connection.sendall(line)
            _heard(connection)

    def _heard(connection: socket.socket) -> None:
        connection.settimeout(5)
        connection.recv(65536)

    def run() -> None:
        with suppress(OSError):  # whoever called has left
            speak()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield server.getsockname()[1]
    finally:
        closing.set()
        server.close()
        thread.join()


def certificate(folder: Path, *, days: int = 1) -> Path:
    """Write a certificate for 127.0.0.1 that nobody signed but itself; return its file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = folder / "server.pem"
    file.write_bytes(
        built.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return file


def server_context(file: Path) -> ssl.SSLContext:
    """Return the TLS context of a server with this certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context
