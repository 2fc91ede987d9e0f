"""The manifest of a backup: what it was taken from, when, and every file with its hash."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ValidationError

from deploy.backups.contents import DatabaseContents

MANIFEST = "manifest.json"
SECRETS = "secrets"
Kind = Literal["standalone", "containers"]


class BadBackup(Exception):
    """The folder holds no backup, or not the whole of one; the message says what is wrong."""


class FileNote(BaseModel):
    """A file of the backup."""

    bytes: int
    sha256: str


class Manifest(BaseModel):
    """What stands in manifest.json. `kept_elsewhere`: settings that hold secrets and were not among the files."""

    format: Literal[1] = 1
    made_at: datetime
    release: str
    kind: Kind
    environment: str
    held_up_s: float
    ledger: dict[str, int]
    databases: dict[str, DatabaseContents]
    kept_elsewhere: list[str]
    files: dict[str, FileNote]

    def write(self, folder: Path) -> None:
        (folder / MANIFEST).write_text(self.model_dump_json(indent=2) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Self:
        """The manifest of a backup whose every file is as it was written; BadBackup otherwise."""
        try:
            manifest = cls.model_validate_json((folder / MANIFEST).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise BadBackup(f"there is no backup in {folder}: it has no {MANIFEST}") from None
        except ValidationError as error:
            raise BadBackup(f"{folder / MANIFEST} is not of this format: {error.errors()[0]['msg']}") from None
        for name, noted in manifest.files.items():
            if not (folder / name).is_file():
                raise BadBackup(f"{name} is missing in {folder}")
            if note(folder / name) != noted:
                raise BadBackup(f"{name} in {folder} is not as it was written")
        return manifest


def note(file: Path) -> FileNote:
    """A file's size and hash."""
    with file.open("rb") as opened:
        return FileNote(bytes=file.stat().st_size, sha256=hashlib.file_digest(opened, "sha256").hexdigest())


def notes(folder: Path) -> dict[str, FileNote]:
    """Every file in the folder, by its path in it."""
    files: Sequence[Path] = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): note(path) for path in files}


def archive_name(service: str) -> str:
    """The file with the database of a service."""
    return f"{service}.dump"
