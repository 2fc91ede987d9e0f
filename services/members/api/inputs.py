"""The types of what comes in on more than one route."""

from __future__ import annotations

from typing import Annotated

from chassis.api import Words

Name = Annotated[str, Words(120)]
SearchText = Annotated[str, Words(60)]
