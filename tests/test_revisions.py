"""Revisions that would break the release before, or hold up everybody, are seen; those of the services say why."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.revisions import findings

ROOT = Path(__file__).resolve().parent.parent
REVISIONS = sorted((ROOT / "services").glob("*/migrations/*.py"))
EXPANDS = """
op.create_table("pledges", sa.Column("id", sa.Uuid(), nullable=False))
op.create_index("ix_pledges_id", "pledges", ["id"])
op.add_column("claims", sa.Column("note", sa.Text(), nullable=True))
op.add_column("claims", sa.Column("kind", sa.Text(), nullable=False, server_default="x"))
op.create_index("ix_claims_note", "claims", ["note"], postgresql_concurrently=True)
op.execute("ALTER TABLE claims ADD CONSTRAINT ck CHECK (true) NOT VALID")
"""
CONTRACTS = [
    'op.drop_table("claims")',
    'op.drop_column("claims", "note")',
    'op.rename_table("claims", "demands")',
    'op.alter_column("claims", "note", new_column_name="remark")',
    'op.alter_column("claims", "note", type_=sa.Integer())',
    'op.alter_column("claims", "note", nullable=False)',
    'op.add_column("claims", sa.Column("note", sa.Text(), nullable=False))',
    'op.execute("ALTER TABLE claims DROP COLUMN note")',
    'op.execute("alter table claims rename to demands")',
    'op.execute("ALTER TABLE claims ALTER note SET NOT NULL")',
    'op.execute("ALTER TABLE claims ALTER COLUMN note TYPE int")',
    "op.execute(DROP)",
]
LOCKS = [
    'op.create_index("ix_claims_note", "claims", ["note"])',
    'op.create_foreign_key("fk", "claims", "products", ["product_id"], ["id"])',
    'op.create_check_constraint("ck", "claims", "true")',
    'op.execute("CREATE UNIQUE INDEX ix ON claims (note)")',
    'op.execute(f"CREATE TRIGGER count AFTER INSERT ON {table} EXECUTE FUNCTION count()")',
    'op.execute("ALTER TABLE claims ADD CONSTRAINT ck CHECK (true)")',
]


def revision(body: str, *, top: str = "", before: str = '"0001"') -> str:
    lines = "\n".join(f"    {line}" for line in body.strip().splitlines())
    drop = 'DROP = "DROP TABLE claims"'
    return f"down_revision: str | None = {before}\n{drop}\n{top}\n\ndef upgrade() -> None:\n{lines}\n"


@pytest.mark.parametrize("path", REVISIONS, ids=lambda path: f"{path.parts[-3]}-{path.stem}")
def test_a_revision_says_why_it_takes_away_or_locks(path: Path) -> None:
    assert findings(path.read_text(encoding="utf-8")) == []


def test_there_are_revisions_of_every_service() -> None:
    assert len({path.parts[-3] for path in REVISIONS}) == 5


def test_what_only_adds_needs_no_reason() -> None:
    assert findings(revision(EXPANDS)) == []


@pytest.mark.parametrize("body", CONTRACTS)
def test_control_what_the_release_before_needs_is_not_taken_away_unsaid(body: str) -> None:
    assert {one.needs for one in findings(revision(body))} == {"CONTRACTS"}
    assert findings(revision(body, top='CONTRACTS = "unused since 2026.10"')) == []
    assert findings(revision(body, top='CONTRACTS = " "')) != []


@pytest.mark.parametrize("body", LOCKS)
def test_control_a_table_is_not_locked_unsaid(body: str) -> None:
    assert {one.needs for one in findings(revision(body))} == {"LOCKS"}
    assert findings(revision(body, top='LOCKS = "a row per rule"')) == []


def test_the_first_revision_has_nobody_beside_it() -> None:
    assert findings(revision(LOCKS[0], before="None")) == []
