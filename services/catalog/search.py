"""Search that works in Chinese with two characters, or one, and by the beginnings of words elsewhere.

PostgreSQL's own parsers see a Chinese sentence as one word. So the texts are taken apart here: a run of Chinese,
Japanese or Korean characters gives its single characters and its pairs, everything else its words. A query asks for all
its parts.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Text, cast, false, func, literal
from sqlalchemy.dialects.postgresql import ARRAY, TSQUERY
from sqlalchemy.orm import InstrumentedAttribute

# PostgreSQL takes lexemes of up to 2046 bytes; longer words are told apart by their beginnings alone.
WORD_MAX_CHARACTERS = 64

_CJK = (
    "\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3038-\u303c\u3041-\u309f\u30a1-\u30fa\u30fc-\u30ff\u3105-\u312f"
    "\u31a0-\u31bf\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u1100-\u11ff\uac00-\ud7af\U00020000-\U000323af"
)
_PARTS = re.compile(rf"(?P<run>[{_CJK}]+)|(?P<word>[^\W_{_CJK}]+)")


def matches(column: ColumnElement[Any] | InstrumentedAttribute[Any], asked: str) -> ColumnElement[bool]:
    """The condition that a search vector has everything that is asked for; nothing matches a query without letters."""
    query = tsquery(asked)
    if query is None:
        return false()
    return column.bool_op("@@")(cast(literal(query, Text), TSQUERY))


def vector(*texts: str | None) -> ColumnElement[Any]:
    """The search vector of a thing with these texts."""
    return func.array_to_tsvector(cast(literal(lexemes(*texts), ARRAY(Text)), ARRAY(Text)))


def lexemes(*texts: str | None) -> list[str]:
    """What the texts can be found by, each once."""
    found: dict[str, None] = {}
    for text in texts:
        for run, word in _parts(text or ""):
            found.update(dict.fromkeys([word] if word else [*run, *_pairs(run)]))
    return list(found)


def tsquery(asked: str) -> str | None:
    """The query in PostgreSQL's notation: all of its parts, words by their beginnings; None when it has none."""
    terms: dict[str, None] = {}
    for run, word in _parts(asked):
        if word:
            terms[f"{_quoted(word)}:*"] = None
        else:
            terms.update(dict.fromkeys(_quoted(part) for part in _pairs(run) or [run]))
    return " & ".join(terms) or None


def _parts(text: str) -> Iterator[tuple[str, str]]:
    """The (run, word) pairs of a text in order, one of the two empty."""
    for part in _PARTS.finditer(unicodedata.normalize("NFKC", text).casefold()):
        yield part["run"] or "", (part["word"] or "")[:WORD_MAX_CHARACTERS]


def _pairs(run: str) -> Sequence[str]:
    return [run[index : index + 2] for index in range(len(run) - 1)]


def _quoted(lexeme: str) -> str:
    """No quote or backslash gets past `_PARTS`; should it ever, it is a letter like any other."""
    return "'" + lexeme.replace("\\", "\\\\").replace("'", "''") + "'"
