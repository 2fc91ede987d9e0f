"""What members refuses, besides what every service does."""

from __future__ import annotations

from chassis.errors import Forbidden, Refusal, TooManyRequests, Unauthenticated


class TooManyExports(TooManyRequests):
    """429: this person has had as many exports as they may for now."""

    type = "too_many_exports"
    retry_after_s = 600


class TooManyCodes(TooManyRequests):
    """429: this phone was sent as many codes as it may be for now."""

    type = "too_many_codes"

    def __init__(self, wait_s: int) -> None:
        super().__init__(wait_s=wait_s)
        self.wait_s = wait_s

    def headers(self) -> dict[str, str]:
        return {"Retry-After": str(self.wait_s)}


class TooManyTries(TooManyCodes):
    """429: this username was tried as often as it may be for now."""

    type = "too_many_tries"


class WrongCode(Unauthenticated):
    """401: not the code, or one that has expired, was used, or was tried too often."""

    type = "wrong_code"


class WrongPassword(Unauthenticated):
    """401: no such username with this password."""

    type = "wrong_password"


class SignInEnded(Unauthenticated):
    """401: the refresh token is unknown, expired or used, or its sign-in has ended."""

    type = "sign_in_ended"


class FreshSignInNeeded(Forbidden):
    """403: what cannot be undone is asked for by somebody who signed in some time ago."""

    type = "fresh_sign_in_needed"


class UsernameTaken(Refusal):
    """409: another staff account has this username."""

    type = "username_taken"


class TooManyRoles(Refusal):
    """409: the person holds as many roles as a token carries."""

    type = "too_many_roles"


class LastOperator(Refusal):
    """409: somebody has to stay who may do everything."""

    type = "last_operator"
