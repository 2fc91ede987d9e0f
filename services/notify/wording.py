"""The words of messages: Jinja2 templates in two languages, filled with a fact's parameters."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from jinja2 import StrictUndefined, Template, pass_context
from jinja2.runtime import Context
from jinja2.sandbox import SandboxedEnvironment

from chassis.i18n import DEFAULT_LOCALE, LOCALES, Locale

FOLDER = Path(__file__).parent / "templates"


class Wording:
    """Every template, compiled. `title` and `body` are for the inbox, `sms` is for the channel of that name."""

    def __init__(self) -> None:
        # Plain text goes out, never HTML: who shows it escapes it.
        environment = SandboxedEnvironment(autoescape=False, undefined=StrictUndefined)
        environment.filters["moment"] = _moment
        self._templates: dict[tuple[Locale, str, str], Template] = {
            (locale, key, part): environment.from_string(text)
            for locale in LOCALES
            for key, parts in texts(locale).items()
            for part, text in parts.items()
        }

    def render(self, locale: Locale, key: str, part: str, params: Mapping[str, Any]) -> str:
        """One part of a message in one language; raises on a parameter that is missing."""
        return self._templates[locale, key, part].render({**params, "locale": locale})


def texts(locale: Locale) -> dict[str, dict[str, str]]:
    """The catalogue of one language as it stands in its file."""
    loaded: dict[str, dict[str, str]] = json.loads((FOLDER / f"{locale}.json").read_text(encoding="utf-8"))
    return loaded


def known_locale(name: str | None) -> Locale:
    """The language of that name if we have it, else the first one."""
    return next((locale for locale in LOCALES if locale == name), DEFAULT_LOCALE)


@pass_context
def _moment(context: Context, value: str) -> str:
    """A time (RFC 3339) as people of the area and language say it."""
    local = datetime.fromisoformat(value).astimezone(ZoneInfo(context["timezone"]))
    if context["locale"] == "en":
        return f"{local.day} {local:%b} {local:%H:%M}"
    return f"{local.month}月{local.day}日{local:%H:%M}"
