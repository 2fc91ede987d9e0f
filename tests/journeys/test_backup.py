"""A standalone is backed up while neighbours claim, and restored elsewhere: nothing is missing, nothing doubled."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from chassis.settings import SERVICE_NAMES
from deploy.backups.manifest import Manifest
from tests.distributed.load import Load
from tests.distributed.neighbours import publish
from tests.journeys.books import books, settled, standalone_books
from tests.journeys.compose import wait_until
from tests.journeys.people import Actor, operator, random_phone, sign_in
from tests.journeys.standalone import ROOT, Standalone

pytestmark = pytest.mark.skipif(
    "'LINLI_URL' in os.environ or config.getoption('--distributed')", reason="about the standalone process only"
)

MEMBERS = 3
# Claims that are answered between the first and the last snapshot of the control.
BETWEEN = 10


@dataclass
class Neighbourhood:
    """A running standalone with members who can claim, each on a product of their own."""

    linli: Standalone
    members: list[Actor]
    products: list[str]
    phone: str


@pytest.fixture(scope="module")
def neighbourhood(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Neighbourhood]:
    linli = Standalone(tmp_path_factory.mktemp("backup") / "data", {"LINLI_OTP_ADDRESS_LIMIT": "10000/hour"})
    url = linli.wait_ready()
    with ExitStack() as open_actors:
        open_actors.callback(linli.stop)
        staff, phone = open_actors.enter_context(operator(url)), random_phone()
        area = staff.post("/areas", {"level": "city", "name": "成都市"})["id"]
        members = [open_actors.enter_context(sign_in(url, number)) for number in (phone, *[None] * (MEMBERS - 1))]
        for member in members:
            member.post("/registrations", {"area_id": area})
        yield Neighbourhood(linli, members, [publish(staff, area) for _ in members], phone)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )


def restored(backup: Path, data: Path) -> Standalone:
    """The backup in a new standalone, which runs."""
    done = run("deploy.restore", str(backup), "--data", str(data))
    assert done.returncode == 0, done.stdout + done.stderr
    return Standalone(data)


def require_whole(backup: Path, data: Path, phone: str, person_id: str) -> int:
    """Restore it and let all facts that it holds be sent: then the services' books agree. Returns how many claims."""
    linli, ask = restored(backup, data), standalone_books(data)
    try:
        url = linli.wait_ready()
        wait_until(lambda: settled(ask, SERVICE_NAMES), 60, "facts stay unsent")
        found = books(ask)
        assert found.agree(), f"{len(found.claims)}, {len(found.seen)}, {found.told}, {found.awarded}"
        # Phone numbers can be read, so their owners are the same people.
        with sign_in(url, phone) as same:
            assert same.id == person_id
        return len(found.claims)
    finally:
        linli.stop()


def test_a_backup_under_load_restores_to_what_agrees(neighbourhood: Neighbourhood, tmp_path: Path) -> None:
    data, backup = neighbourhood.linli.data, tmp_path / "backup"
    load = Load()
    before = len(books(standalone_books(data)).claims)
    with load.by(neighbourhood.members, neighbourhood.products):
        done = run("deploy.backup", str(backup), "--data", str(data), "--release", "tested")
    assert done.returncode == 0, done.stdout + done.stderr
    assert load.failures == []
    claims = require_whole(backup, tmp_path / "data", neighbourhood.phone, neighbourhood.members[0].id)
    assert before < claims < before + load.answered["claim"], "it was taken in the middle"
    manifest = Manifest.read(backup)
    assert manifest.ledger["transfers"] > 0
    assert {count for name, count in manifest.ledger.items() if name != "transfers"} == {0}
    assert not [file for file in backup.rglob("*") if file.stat().st_mode & 0o077], "others can read it"
