"""Backups under load at full length: in containers, and with a control that shows what holding the relays up is for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from pathlib import Path

import pytest

from chassis.settings import SERVICE_NAMES
from deploy.backups import moment
from deploy.backups.manifest import Manifest
from deploy.backups.moment import Drained, Snapshot, connect
from deploy.backups.places import standalone
from deploy.backups.taking import Moment, back_up
from tests.conftest import installation
from tests.distributed.load import Load
from tests.distributed.neighbours import publish
from tests.journeys.books import Ask, books, settled
from tests.journeys.compose import ComposeStack, wait_until
from tests.journeys.people import operator, random_phone, sign_in
from tests.journeys.test_backup import Neighbourhood, neighbourhood, require_whole

# The standalone of that test serves the control here.
__all__ = ["neighbourhood"]

# Claims that are answered between the first and the last snapshot of the control.
BETWEEN = 10
MEMBERS = 4


@pytest.fixture
def linli(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ComposeStack]:
    """An installation in containers of its own, to be wiped."""
    with installation(request.config, tmp_path) as made:
        made.up()
        yield made


def asking(linli: ComposeStack) -> Ask:
    def ask(service: str, query: str) -> list[str]:
        login = ("-U", "postgres", "-d", f"linli_{service}")
        return linli.execute("postgres", "psql", *login, "-AtX", "-c", query).split()

    return ask


def test_containers_backed_up_under_load_and_wiped_are_restored_to_what_agrees(
    linli: ComposeStack, tmp_path: Path
) -> None:
    ask, backup, load, phone = asking(linli), tmp_path / "backup", Load(), random_phone()
    with ExitStack() as open_actors:
        staff = open_actors.enter_context(operator(linli.url))
        area = staff.post("/areas", {"level": "city", "name": "成都市"})["id"]
        numbers = (phone, *[None] * (MEMBERS - 1))
        members = [open_actors.enter_context(sign_in(linli.url, number)) for number in numbers]
        for member in members:
            member.post("/registrations", {"area_id": area})
        with load.by(members, [publish(staff, area) for _ in members]):
            before = load.answered["claim"]
            done = linli.make("backup", "CONTAINERS=1", f"TO={backup}")
            assert done.returncode == 0, done.stdout + done.stderr
    assert load.failures == []
    refused = linli.make("restore", "CONTAINERS=1", f"FROM={backup}")
    assert refused.returncode != 0
    assert "new installation" in refused.stdout, refused.stdout + refused.stderr
    assert linli.make("down", "WIPE=1").returncode == 0
    done = linli.make("restore", "CONTAINERS=1", f"FROM={backup}")
    assert done.returncode == 0, done.stdout + done.stderr
    linli.up()
    wait_until(lambda: settled(ask, SERVICE_NAMES), 60, "facts stay unsent")
    found = books(ask)
    assert found.agree(), f"{len(found.claims)}, {len(found.seen)}, {found.told}, {found.awarded}"
    assert before < len(found.claims) < load.answered["claim"], "it was taken in the middle"
    with sign_in(linli.url, phone) as same:
        assert same.id == members[0].id
    assert {count for name, count in Manifest.read(backup).ledger.items() if name != "transfers"} == {0}


def one_after_another(ask_claims: Callable[[], int]) -> Moment:
    """A control's moment: each database as of its own, with the relays at work."""

    @asynccontextmanager
    async def snapshots(
        server_url: str, databases: Sequence[str], drained: Drained
    ) -> AsyncIterator[Mapping[str, Snapshot]]:
        async with AsyncExitStack() as stack:
            seen: dict[str, Snapshot] = {}
            for database in reversed(databases):
                seeing = connect(server_url, database, isolation_level="REPEATABLE READ")
                seen[database] = await moment.take_snapshot(await stack.enter_async_context(seeing))
                enough = ask_claims() + BETWEEN
                await asyncio.to_thread(wait_until, lambda enough=enough: ask_claims() >= enough, 60, "nobody claims")
                await asyncio.sleep(1)  # their facts are had by all meanwhile
            yield seen

    return snapshots


def test_control_databases_dumped_one_after_another_do_not_agree(neighbourhood: Neighbourhood, tmp_path: Path) -> None:
    backup, load = tmp_path / "backup", Load()
    weaker = one_after_another(lambda: load.answered["claim"])
    with load.by(neighbourhood.members, neighbourhood.products), standalone(neighbourhood.linli.data) as place:
        asyncio.run(back_up(place, backup, "control", moment=weaker))
    with pytest.raises(AssertionError, match=r"^\d+, \d+, \d+, \d+"):
        require_whole(backup, tmp_path / "data", neighbourhood.phone, neighbourhood.members[0].id)
