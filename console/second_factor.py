"""The optional second factor for staff users: time-based codes (TOTP, RFC 6238) and recovery codes.

The code is checked together with the password, so no session exists until both are correct.
"""

from __future__ import annotations

import hashlib
import secrets
from datetime import datetime

import pyotp
from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction

from console.models import SecondFactor

STEP_S = 30
# Also accept the codes before and after the current one, because clocks differ.
_DRIFT_STEPS = (0, -1, 1)
RECOVERY_CODES = 10


def new_secret() -> str:
    """Return 160 random bits in base32."""
    return pyotp.random_base32()


def uri(secret: str, name: str) -> str:
    """Return the otpauth:// URI that authenticator apps read from a QR code."""
    return pyotp.TOTP(secret).provisioning_uri(name=name, issuer_name="SomaMemory")


def is_on(user: AbstractBaseUser) -> bool:
    return SecondFactor.objects.filter(user_id=user.pk).exists()


def turn_on(user: AbstractBaseUser, secret: str, code: str, now: datetime) -> list[str]:
    """Store the secret if the code proves that the user's app has it, and return recovery codes.

    Return [] if the code is wrong.
    """
    step = _step_of(secret, code, now)
    if step is None:
        return []
    codes = ["-".join(secrets.token_hex(2) for _ in range(8)) for _ in range(RECOVERY_CODES)]
    digests = [_digest(recovery) for recovery in codes]
    SecondFactor.objects.update_or_create(
        user_id=user.pk, defaults={"secret": secret, "last_step": step, "recovery": digests}
    )
    return codes


def turn_off(user: AbstractBaseUser) -> bool:
    """Remove the second factor. Return whether there was one."""
    return SecondFactor.objects.filter(user_id=user.pk).delete()[0] > 0


def accepts(user: AbstractBaseUser, code: str, now: datetime) -> bool:
    """Check a code and use it up, because neither an app's code nor a recovery code is accepted twice."""
    factor = SecondFactor.objects.filter(user_id=user.pk).first()
    if factor is None:
        return False
    step = _step_of(factor.secret, code, now)
    if step is not None:  # of two requests with the same code, only one updates the row
        return SecondFactor.objects.filter(user_id=user.pk, last_step__lt=step).update(last_step=step) == 1
    return _use_recovery_code(user, code)


def _use_recovery_code(user: AbstractBaseUser, code: str) -> bool:
    with transaction.atomic():
        factor = SecondFactor.objects.select_for_update().filter(user_id=user.pk).first()
        if factor is None or (digest := _digest(code)) not in factor.recovery:
            return False
        factor.recovery.remove(digest)
        factor.save(update_fields=["recovery"])
    return True


def _step_of(secret: str, code: str, now: datetime) -> int | None:
    """Return the 30-second step to which a code belongs, or None if the code is wrong."""
    digits = code.replace(" ", "")
    totp, current = pyotp.TOTP(secret), int(now.timestamp()) // STEP_S
    for step in (current + drift for drift in _DRIFT_STEPS):
        if secrets.compare_digest(totp.generate_otp(step).encode(), digits.encode("utf-8", "replace")):
            return step
    return None


def _digest(recovery: str) -> str:
    """Return the SHA-256 of a recovery code. The code has 128 random bits, so a slow hash is not needed."""
    return hashlib.sha256(recovery.strip().lower().encode("utf-8", "replace")).hexdigest()
