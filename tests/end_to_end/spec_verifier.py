"""The verifier of spec 002, "HMAC 签名验证 / Python", with its line breaks restored and no more."""

# ruff: noqa: E401, I001
# fmt: off
import hmac, hashlib, time

def verify(secret: str, headers: dict, body: str) -> bool:
    ts = headers.get("X-Hashee-Timestamp") or headers.get("x-hashee-timestamp")
    sig = headers.get("X-Hashee-Signature") or headers.get("x-hashee-signature")
    delivery_id = headers.get("X-Hashee-Delivery-Id") or headers.get("x-hashee-delivery-id")
    if not (ts and sig and delivery_id):
        return False
    if abs(int(time.time()) - int(ts)) > 300:
        return False
    signed = f"{ts}.{delivery_id}.{body}"
    expected = hmac.new(secret.encode(), signed.encode(), hashlib.sha256).hexdigest()
    return hmac.compare_digest(sig, expected)
