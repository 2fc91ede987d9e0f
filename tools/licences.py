"""Under which licences the packages come that Linli runs on, from what each says of itself; and which are accepted.

Accepted are those that ask for no more than their text to be handed on, and MPL-2.0, which asks for changes to its own
files. The GPL's family would ask for more of whoever hands Linli on, and none of it is in.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

ACCEPTED = frozenset(
    [
        "Apache-2.0",
        "BSD-2-Clause",
        "BSD-3-Clause",
        "ISC",
        "MIT",
        "MIT-0",
        "MPL-2.0",
        "PSF-2.0",
        "Python-2.0",
        "Unlicense",
    ]
)
# What packages wrote before licences had identifiers.
OLDER_NAMES = {
    "3-Clause BSD License": "BSD-3-Clause",
    "Apache 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD-3-Clause",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}
SHORT = 60
UNKNOWN = "unknown"


@dataclass(frozen=True)
class Package:
    """An installed package; `licence` is an SPDX expression, or the words it uses, or `unknown`."""

    name: str
    version: str
    licence: str


def package(metadata: Mapping[str, Sequence[str]]) -> Package:
    """From the fields of a package's metadata, each with all its values."""

    def first(field: str) -> str:
        return next(iter(metadata.get(field, ())), "").strip()

    told = [value.split("::")[-1].strip() for value in metadata.get("Classifier", ()) if value.startswith("License")]
    free = first("License") if len(first("License")) < SHORT else ""
    named = [first("License-Expression")] if first("License-Expression") else [free] if free else told
    licence = " OR ".join(dict.fromkeys(OLDER_NAMES.get(name, name) for name in named)) or UNKNOWN
    return Package(first("Name").lower().replace("_", "-"), first("Version"), licence)


def is_accepted(licence: str) -> bool:
    """Whether an SPDX expression can be met with accepted licences: all of those with AND, one of those with OR."""
    # A bracket stands for its alternatives; packages nest no deeper.
    while bracket := re.search(r"\(([^()]*)\)", licence):
        licence = licence.replace(bracket[0], "MIT" if is_accepted(bracket[1]) else UNKNOWN)
    return any(all(one.strip() in ACCEPTED for one in choice.split(" AND ")) for choice in licence.split(" OR "))
