"""Phone numbers: how they may be written, the one form in which they are kept, and how they are shown."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, StringConstraints
from pydantic_core import PydanticCustomError

# A Chinese mobile number as people write it, or any number with its country (E.164).
PHONE_PATTERN = re.compile(r"1[3-9][0-9]{9}|\+[0-9]{8,15}")
PHONE_MAX_CHARACTERS = 16
CHINA = "+86"
CHINESE_MOBILE_DIGITS = 11
SHOWN_AT_START = 3
SHOWN_AT_END = 4


def normalise(phone: str) -> str:
    """Chinese mobile numbers as eleven digits, all others in E.164, so that one phone has one form."""
    if not PHONE_PATTERN.fullmatch(phone):
        raise PydanticCustomError("phone", "a phone number")
    national = phone.removeprefix(CHINA)
    is_chinese_mobile = len(national) == CHINESE_MOBILE_DIGITS and national[0] == "1" and national[1] in "3456789"
    return national if is_chinese_mobile else phone


def mask(phone: str) -> str:
    """What may be shown of a phone: `138****1234`; of a short one less of its end."""
    shown_at_end = SHOWN_AT_END if len(phone) >= CHINESE_MOBILE_DIGITS else 2
    return f"{phone[:SHOWN_AT_START]}****{phone[-shown_at_end:]}"


Phone = Annotated[
    str, StringConstraints(strip_whitespace=True, max_length=PHONE_MAX_CHARACTERS), AfterValidator(normalise)
]
