import datetime
import socket
import ssl
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from deliveries.outbound import ConnectFailed, Policy, TlsFailed, connections, request

from .servers import answer, receiving


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for hook.example and 127.0.0.1, with its key, as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "hook.example")])
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.DNSName("hook.example"), x509.IPAddress(ip_address("127.0.0.1"))]
    cert = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "hook.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + cert.public_bytes(serialization.Encoding.PEM)
    )
    return path


@pytest.fixture
def server(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


@pytest.fixture
def trusted(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    connections.tls_context.cache_clear()
    yield
    connections.tls_context.cache_clear()


def test_a_certificate_nobody_vouches_for(server: ssl.SSLContext) -> None:
    with receiving(answer(), context=server) as receiver, pytest.raises(TlsFailed) as caught:
        request("POST", f"https://127.0.0.1:{receiver.port}/", policy=Policy.LAN)
    assert (caught.value.error_class, caught.value.sent) == ("tls", False)
    assert "self-signed" in str(caught.value)
    assert receiver.requests == []


@pytest.mark.usefixtures("trusted")
def test_the_name_is_checked_and_sent_though_the_address_is_pinned(
    server: ssl.SSLContext, names: dict[str, list[str]]
) -> None:
    names["hook.example"] = ["127.0.0.1"]
    asked = []
    server.sni_callback = lambda _sock, name, _context: asked.append(name)
    with receiving(answer(b"safe"), context=server) as receiver:
        for _ in range(3):
            url = f"https://hook.example:{receiver.port}/"
            assert request("POST", url, policy=Policy.LAN).body == b"safe"
    assert asked == ["hook.example"]
    assert receiver.connections == 1
    assert f"\r\nHost: hook.example:{receiver.port}\r\n".encode() in receiver.requests[0]


@pytest.mark.usefixtures("trusted")
def test_an_address_has_certificates_too(server: ssl.SSLContext) -> None:
    with receiving(answer(b"safe"), context=server) as receiver:
        url = f"https://127.0.0.1:{receiver.port}/"
        assert request("POST", url, body=b"x" * 500_000, policy=Policy.LAN).body == b"safe"


@pytest.mark.usefixtures("trusted")
def test_a_certificate_for_another_name(
    server: ssl.SSLContext, names: dict[str, list[str]]
) -> None:
    names["other.example"] = ["127.0.0.1"]
    with receiving(answer(), context=server) as receiver, pytest.raises(TlsFailed) as caught:
        request("POST", f"https://other.example:{receiver.port}/", policy=Policy.LAN)
    assert "not valid" in str(caught.value)
    assert receiver.requests == []


@pytest.mark.usefixtures("trusted")
def test_a_connection_closed_while_idle_is_replaced(server: ssl.SSLContext) -> None:
    def talk(sock: ssl.SSLSocket) -> None:
        receiver.read(sock)
        sock.sendall(answer())
        receiver.read(sock)

    with receiving(talk=talk, context=server) as receiver:  # type: ignore[arg-type]
        for _ in range(2):
            url = f"https://127.0.0.1:{receiver.port}/"
            assert request("POST", url, policy=Policy.LAN, timeout=3).status == 200
    assert receiver.connections == 2


def test_plain_http_on_a_tls_port() -> None:
    def talk(sock: socket.socket) -> None:
        sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        sock.recv(4096)

    with receiving(talk=talk) as receiver, pytest.raises(TlsFailed) as caught:
        request("POST", f"https://127.0.0.1:{receiver.port}/", policy=Policy.LAN, timeout=3)
    assert caught.value.sent is False


def test_a_connection_that_ends_in_the_handshake() -> None:
    with receiving(talk=lambda sock: None) as receiver, pytest.raises(ConnectFailed) as caught:
        request("POST", f"https://127.0.0.1:{receiver.port}/", policy=Policy.LAN, timeout=3)
    assert caught.value.sent is False
