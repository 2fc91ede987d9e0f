"""The keys that members cannot run without, made once for a deployment and kept outside the database.

python -m services.members.keys   prints them as environment variables
"""

from __future__ import annotations

import base64
import os
import sys

from chassis.tokens import generate_key
from services.members.vault import KEY_BYTES

# Development mode listens on loopback only; there a known password for the first operator harms nobody.
DEVELOPMENT_OPERATOR_PASSWORD = "linli-development"  # noqa: S105 - see above


def generate_keys() -> dict[str, str]:
    """New values for the settings `contact_key`, `phone_index_key` and `token_key`.

    The first two are 32 random bytes in URL-safe base64, the third is an ES256 private key (PEM). Without the first
    no contact can be read any more; without the second no phone leads to its account.
    """
    return {"contact_key": _random_key(), "phone_index_key": _random_key(), "token_key": generate_key()}


def _random_key() -> str:
    # Keys come from the machine itself: no simulation may decide them.
    return base64.urlsafe_b64encode(os.urandom(KEY_BYTES)).decode()


def main() -> None:
    for setting, value in generate_keys().items():
        line = value.strip().replace("\n", "\\n")
        sys.stdout.write(f"LINLI_{setting.upper()}={line}\n")


if __name__ == "__main__":
    main()
