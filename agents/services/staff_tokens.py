"""Tokens of staff for the REST interface: signed, not stored.

A token names a user and when it ends, and is bound to the user's password: it ends sooner when
that is changed, and with the user's ``is_active`` or ``is_staff``.
"""

from datetime import timedelta
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractBaseUser
from django.core import signing
from django.utils import timezone
from django.utils.crypto import constant_time_compare

PREFIX = "hst_"
SALT = "agents.staff-token"
LIFE = timedelta(days=90)


def issue_staff_token(user: AbstractBaseUser, life: timedelta = LIFE) -> str:
    """Return a token with which a program may do what this user may."""
    ends = int((timezone.now() + life).timestamp())
    content = [user.pk, ends, user.get_session_auth_hash()[:32]]
    return PREFIX + signing.dumps(content, salt=SALT)


def staff_of(token: str) -> Any:
    """Return the user whose live token this is, or None."""
    try:
        pk, ends, bound = signing.loads(token.removeprefix(PREFIX), salt=SALT)
    except (signing.BadSignature, ValueError):
        return None
    user = get_user_model()._default_manager.filter(pk=pk, is_active=True, is_staff=True).first()
    if user is None or ends <= timezone.now().timestamp():
        return None
    return user if constant_time_compare(bound, user.get_session_auth_hash()[:32]) else None
