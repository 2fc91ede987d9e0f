"""What is no backup, not the whole of one, or not for this place, is refused with its reason."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from chassis.settings import SERVICE_NAMES
from deploy import backup as backing_up
from deploy import restore
from deploy.backups.contents import DatabaseContents
from deploy.backups.manifest import MANIFEST, SECRETS, BadBackup, Manifest, notes
from deploy.backups.moment import CannotBackUp
from deploy.backups.places import Containers, NoInstallation, standalone
from deploy.backups.restoring import CannotRestore, require_known
from deploy.backups.taking import whole
from deploy.restore import restore_secrets, restore_standalone
from deploy.secrets import make_secrets
from deploy.services import SERVICES
from deploy.setup import NotReady


@pytest.fixture
def backup(tmp_path: Path) -> Path:
    """A folder as a backup of containers is; its archives are none."""
    folder = tmp_path / "backup"
    (folder / SECRETS).mkdir(parents=True)
    make_secrets(folder / SECRETS, "production")
    for name in SERVICE_NAMES:
        (folder / f"{name}.dump").write_text(name)
    Manifest(
        made_at=datetime.now(UTC),
        release="tested",
        kind="containers",
        environment="production",
        held_up_s=0,
        ledger={},
        databases={name: DatabaseContents(revision="0001", tables={}) for name in SERVICE_NAMES},
        kept_elsewhere=[],
        files=notes(folder),
    ).write(folder)
    return folder


def test_a_whole_backup_is_read(backup: Path) -> None:
    assert Manifest.read(backup).release == "tested"


def test_a_file_that_is_missing_changed_or_cut_is_seen(backup: Path) -> None:
    archive = backup / "points.dump"
    archive.write_text("point")
    with pytest.raises(BadBackup, match=r"points\.dump .* not as it was written"):
        Manifest.read(backup)
    archive.unlink()
    with pytest.raises(BadBackup, match=r"points\.dump is missing"):
        Manifest.read(backup)
    (backup / MANIFEST).write_text("{}")
    with pytest.raises(BadBackup, match="not of this format"):
        Manifest.read(backup)
    (backup / MANIFEST).unlink()
    with pytest.raises(BadBackup, match="there is no backup"):
        Manifest.read(backup)


def test_secrets_go_into_an_empty_folder_and_to_nobody_else_s(backup: Path, tmp_path: Path) -> None:
    manifest, own, others = Manifest.read(backup), tmp_path / "own", tmp_path / "others"
    for folder in (own, others):
        folder.mkdir()
    for _ in range(2):  # a restore that was interrupted goes on
        restore_secrets(backup, manifest, own, "production")
    assert {file.name for file in own.iterdir()} == {file.name for file in (backup / SECRETS).iterdir()}
    make_secrets(others, "production")
    with pytest.raises(CannotRestore, match="those of another installation"):
        restore_secrets(backup, manifest, others, "production")
    with pytest.raises(CannotRestore, match="of production mode, not of development"):
        restore_secrets(backup, manifest, tmp_path / "none", "development")


def test_where_there_is_an_installation_none_is_restored(backup: Path, tmp_path: Path) -> None:
    (tmp_path / "secrets.json").write_text("{}")
    with pytest.raises(CannotRestore, match="holds an installation"):
        restore_standalone(backup, Manifest.read(backup), tmp_path)


def test_where_there_is_none_none_is_backed_up(tmp_path: Path) -> None:
    with pytest.raises(NoInstallation, match="no installation"), standalone(tmp_path):
        pass
    with pytest.raises(NoInstallation, match="no secrets"):
        Containers(tmp_path)


def test_a_schema_of_a_newer_release_is_refused() -> None:
    require_known(SERVICES[0], "0001")
    with pytest.raises(CannotRestore, match="revision 9999 of members"):
        require_known(SERVICES[0], "9999")


def test_a_backup_has_its_name_once_it_is_whole(tmp_path: Path) -> None:
    folder = tmp_path / "backup"
    with pytest.raises(OSError, match="disk full"), whole(folder):
        raise OSError("disk full")
    assert list(tmp_path.iterdir()) == []
    with whole(folder) as partial:
        (partial / "file").touch()
        assert not folder.exists()
    with pytest.raises(CannotBackUp, match="there already"), whole(folder):
        pass
    assert [file.name for file in folder.iterdir()] == ["file"]


def test_a_broker_that_does_not_answer_is_said_in_a_sentence(
    backup: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def not_ready(*_: object) -> None:
        raise NotReady("the broker was not ready within 60 s")

    monkeypatch.setattr(backing_up, "back_up", not_ready)
    monkeypatch.setattr(restore, "restore_databases", not_ready)
    for main, folder in ((backing_up.main, tmp_path / "new"), (restore.main, backup)):
        monkeypatch.setattr("sys.argv", ["-", str(folder), "--secrets", str(backup / SECRETS)])
        assert main() == 1
    said = capsys.readouterr()
    assert (said.out + said.err).count("the broker was not ready within 60 s") == 2
