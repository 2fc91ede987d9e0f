"""The two languages: which one a request asks for, and the catalogues of texts.

Each package that says something to a person keeps `locales/zh-CN.json` and `locales/en.json` with the same keys.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, cast

Locale = Literal["zh-CN", "en"]
LOCALES: tuple[Locale, ...] = ("zh-CN", "en")
DEFAULT_LOCALE: Locale = "zh-CN"


def negotiate(accept_language: str | None) -> Locale:
    """The language of an Accept-Language header (RFC 9110) that we have; zh-CN where it names none of ours."""
    best: tuple[float, Locale] = (0.0, DEFAULT_LOCALE)
    for part in (accept_language or "").split(",")[:20]:
        tag, _, parameters = part.strip().partition(";")
        language = tag.strip().lower().split("-")[0]
        locale: Locale | None = "zh-CN" if language == "zh" else "en" if language == "en" else None
        try:
            quality = float(parameters.strip().removeprefix("q=")) if parameters else 1.0
        except ValueError:
            quality = 0.0
        if locale and quality > best[0]:
            best = (quality, locale)
    return best[1]


@cache
def catalogue(package: str, locale: Locale) -> Mapping[str, Any]:
    """The texts of a package in one language; empty when it has none."""
    module_file = import_module(package).__file__
    if module_file is None:
        return {}
    path = Path(module_file).parent / "locales" / f"{locale}.json"
    return cast(Mapping[str, Any], json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}
