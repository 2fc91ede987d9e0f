"""Query parameters that several lists take."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query

# A blank search is none; one without a letter or digit finds nothing.
Search = Annotated[
    str,
    Query(
        max_length=100,
        description="All of these words; one Chinese character is enough, other words by their beginning.",
    ),
]
