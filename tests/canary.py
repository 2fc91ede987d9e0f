"""Words that are nowhere but where a test puts them, in every form in which they might be found elsewhere."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from urllib.parse import quote


@dataclass(frozen=True)
class Canary:
    """What somebody's phone, name or own words are, for a test to plant and to look for."""

    said: str

    def forms(self) -> set[bytes]:
        """As it is, and as JSON, URLs, hexadecimal and Base64 have it, in UTF-8 and UTF-16; a phone also as people
        write it. What is hashed with a key or sealed is none of these, and is meant not to be."""
        texts = {self.said, self.said.lower()}
        if self.said.isdigit():
            parts = (self.said[:3], self.said[3:7], self.said[7:])
            texts |= {" ".join(parts), "-".join(parts), self.said[::-1]}
        found: set[bytes] = set()
        for text in texts:
            plain = text.encode()
            found |= {plain, text.encode("utf-16-le"), text.encode("utf-16-be")}
            found |= {json.dumps(text).strip('"').encode(), quote(text).encode()}
            found |= {plain.hex().encode(), plain.hex().upper().encode(), *_base64(plain)}
        return found

    def count(self, haystack: str | bytes) -> int:
        """How often it is in there, in whichever form."""
        searched = haystack.encode("utf-8", "replace") if isinstance(haystack, str) else haystack
        return sum(searched.count(form) for form in self.forms())


def _base64(plain: bytes) -> set[bytes]:
    """The part that is the same wherever it begins within a longer text: in one of three places of a group."""
    found = set()
    for offset in range(3):
        encoded = base64.b64encode(b"\0" * offset + plain)
        begins = (0, 2, 3)[offset]
        ends = len(encoded) - (0, 4, 4)[(offset + len(plain)) % 3]
        found |= {encoded[begins:ends], encoded[begins:ends].translate(bytes.maketrans(b"+/", b"-_"))}
    return found
