"""Bodies that arrive encrypted: Feishu's and WeCom's, opened and, for tests of a route, closed."""

import base64
import binascii
import hashlib
import os
from collections.abc import Callable

import orjson
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC

from routes.presets.record import Encryption

_BLOCK = 16
# WeCom pads to two blocks of AES, which is its own idea of PKCS #7.
_WECOM_BLOCK = 32
_WECOM_KEY = 32
_WECOM_RANDOM = 16
_WECOM_LENGTH = 4


class Undecipherable(ValueError):
    """The text is not encrypted with this key; nothing more is said."""


def opened(kind: Encryption, hidden: str, parts: tuple[str, ...]) -> bytes:
    """Return the body behind the encrypted text, with the pieces of the route's secret.

    Raises Undecipherable.
    """
    return _OPEN[kind](hidden, parts)


def closed(kind: Encryption, body: bytes, parts: tuple[str, ...]) -> tuple[str, bytes]:
    """Return the encrypted text and the body that carries it, as the source would send them."""
    return _CLOSE[kind](body, parts)


def hidden_text(kind: Encryption, payload: object) -> str:
    """Return the encrypted text that a parsed body carries; "" where there is none."""
    found = payload.get(_FIELDS[kind]) if isinstance(payload, dict) else None
    return found if isinstance(found, str) else ""


def wecom_key(encoded: str) -> bytes | None:
    """Return the 32 bytes of an EncodingAESKey (43 characters); None for what is none."""
    try:
        key = base64.b64decode(encoded.strip() + "=", validate=True)
    except (binascii.Error, ValueError):
        return None
    return key if len(key) == _WECOM_KEY else None


def _open_feishu(hidden: str, parts: tuple[str, ...]) -> bytes:
    data = _decoded(hidden)
    key = _feishu_key(parts)
    return _unpadded(_decrypted(key, data[:_BLOCK], data[_BLOCK:]), _BLOCK)


def _close_feishu(body: bytes, parts: tuple[str, ...]) -> tuple[str, bytes]:
    key, start = _feishu_key(parts), os.urandom(_BLOCK)
    hidden = base64.b64encode(start + _encrypted(key, start, _padded(body, _BLOCK))).decode()
    return hidden, orjson.dumps({_FIELDS[Encryption.FEISHU]: hidden})


def _feishu_key(parts: tuple[str, ...]) -> bytes:
    return hashlib.sha256(parts[0].encode("utf-8", "surrogatepass")).digest()


def _open_wecom(hidden: str, parts: tuple[str, ...]) -> bytes:
    """Return the message of ``random(16) length(4) message receiver``."""
    key = wecom_key(parts[1]) if len(parts) > 1 else None
    if key is None:
        raise Undecipherable
    text = _unpadded(_decrypted(key, key[:_BLOCK], _decoded(hidden)), _WECOM_BLOCK)
    start = _WECOM_RANDOM + _WECOM_LENGTH
    end = start + int.from_bytes(text[_WECOM_RANDOM:start], "big")
    if len(text) < start or end > len(text):
        raise Undecipherable
    # A message for another company, where the secret says which is ours.
    if len(parts) > 2 and parts[2] and text[end:] != parts[2].encode("utf-8", "surrogatepass"):
        raise Undecipherable
    return text[start:end]


def _close_wecom(body: bytes, parts: tuple[str, ...]) -> tuple[str, bytes]:
    key = wecom_key(parts[1]) if len(parts) > 1 else None
    if key is None:
        raise ValueError("An EncodingAESKey has 43 characters.")
    receiver = parts[2].encode("utf-8", "surrogatepass") if len(parts) > 2 else b""
    framed = os.urandom(_WECOM_RANDOM) + len(body).to_bytes(_WECOM_LENGTH, "big") + body + receiver
    data = _encrypted(key, key[:_BLOCK], _padded(framed, _WECOM_BLOCK))
    hidden = base64.b64encode(data).decode()
    return hidden, f"<xml><Encrypt><![CDATA[{hidden}]]></Encrypt></xml>".encode()


def _decoded(hidden: str) -> bytes:
    try:
        data = base64.b64decode(hidden, validate=True)
    except (binascii.Error, ValueError):
        raise Undecipherable from None
    if len(data) < _BLOCK or len(data) % _BLOCK:
        raise Undecipherable
    return data


def _decrypted(key: bytes, start: bytes, data: bytes) -> bytes:
    decryptor = Cipher(AES(key), CBC(start)).decryptor()
    return decryptor.update(data) + decryptor.finalize()


def _encrypted(key: bytes, start: bytes, data: bytes) -> bytes:
    encryptor = Cipher(AES(key), CBC(start)).encryptor()
    return encryptor.update(data) + encryptor.finalize()


def _padded(data: bytes, block: int) -> bytes:
    size = block - len(data) % block
    return data + bytes([size]) * size


def _unpadded(data: bytes, block: int) -> bytes:
    size = data[-1] if data else 0
    if not 1 <= size <= min(block, len(data)) or data[-size:] != bytes([size]) * size:
        raise Undecipherable
    return data[:-size]


_FIELDS = {Encryption.FEISHU: "encrypt", Encryption.WECOM: "Encrypt"}
_OPEN: dict[Encryption, Callable[[str, tuple[str, ...]], bytes]] = {
    Encryption.FEISHU: _open_feishu,
    Encryption.WECOM: _open_wecom,
}
_CLOSE: dict[Encryption, Callable[[bytes, tuple[str, ...]], tuple[str, bytes]]] = {
    Encryption.FEISHU: _close_feishu,
    Encryption.WECOM: _close_wecom,
}
