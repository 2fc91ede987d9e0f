"""What makes a measurement count: its reach, and that it is true."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

import pytest

from bench.figures import Figure, Untrue, growth
from bench.sql_of import script
from bench.tools import Load, request_bytes


@pytest.mark.parametrize(
    ("value", "limit", "reach", "ok"),
    [
        (120, 100, "≥ 1.2", True),
        (119, 100, "≥ 1.2", False),
        (15, 1, "≤ 15", True),
        (16, 1, "≤ 15", False),
        (60, None, "≤ 60", True),
        (61, None, "≤ 60", False),
        (1, 100, "", True),
    ],
)
def test_a_figure_reaches_by_its_ratio_or_else_by_its_value(
    value: float, limit: float | None, reach: str, ok: bool
) -> None:
    assert Figure("claims", value, "1/s", limit, reach=reach).ok is ok


def test_a_figure_that_failed_is_never_ok() -> None:
    assert not Figure("claims", 200, "1/s", 100, reach="≥ 1.2", failed=True).ok


def test_growth_is_much_to_little() -> None:
    assert growth("search", (2.0, 3.0), "ms", "among few", "≤ 1.5").ratio == pytest.approx(1.5)


def test_a_row_says_what_the_figure_does() -> None:
    row = Figure("claims", 150, "1/s", 100, "pgbench", "≥ 1.2").as_row()
    assert {key: row[key] for key in ("figure", "value", "unit", "limit", "ratio", "reach", "ok")} == {
        "figure": "claims", "value": 150, "unit": "1/s", "limit": 100, "ratio": 1.5, "reach": "≥ 1.2", "ok": True,
    }  # fmt: skip


@pytest.mark.parametrize("bad", [{"refused": 1}, {"broken": 1}, {"requests": 0}])
def test_a_load_with_anything_refused_or_lost_is_not_measured(bad: dict[str, int]) -> None:
    seen = {"requests": 100, "refused": 0, "broken": 0, "seconds": 2.0, "p50_ms": 1.0, "p99_ms": 2.0}
    assert Load(**seen).all_answered().per_s == 50  # type: ignore[arg-type]
    with pytest.raises(Untrue):
        Load(**{**seen, **bad}).all_answered()  # type: ignore[arg-type]


def test_a_request_is_as_it_goes_over_the_wire() -> None:
    sent = request_bytes("POST", "http://127.0.0.1:80", "/claims", token="t", key="k", body=b"{}")
    head, body = sent.split(b"\r\n\r\n")
    assert head.split(b"\r\n")[0] == b"POST /claims HTTP/1.1"
    assert {b"Host: 127.0.0.1:80", b"Authorization: Bearer t", b"Idempotency-Key: k", b"Content-Length: 2"} <= {
        *head.split(b"\r\n")
    }
    assert body == b"{}"


def test_an_id_in_a_script_gives_way_to_an_expression(tmp_path: Path) -> None:
    one = UUID(int=1)
    file = script(f"SELECT 1 WHERE id = '{one}'::UUID", tmp_path, replace=one, by="md5(:n)", head="\\set n 1")
    assert file.read_text(encoding="utf-8") == "\\set n 1\nSELECT 1 WHERE id = md5(:n)::UUID;\n"
