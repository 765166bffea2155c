"""The folder that holds everything of one installation: secrets, logs, the embedded database."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from hetuflow.database_url import ADDRESS_FILE

_LOCK_FILE: Final = "standalone.lock"


class DataFolderError(Exception):
    """The data folder cannot be used; the message is one line for a person."""


class DataFolder:
    """The data folder at `path`. Everything it writes is readable by its owner alone."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def logs(self) -> Path:
        """The folder of the logs."""
        return self.path / "logs"

    @contextlib.contextmanager
    def locked(self) -> Iterator[bool]:
        """Make the folder and hold it for the length of a `with` block, so that no second process uses it.

        The block gets whether the last holder ended without cleaning up. Raises DataFolderError. The lock
        belongs to the open file: it is gone with the process, however that ends.
        """
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.logs.mkdir(mode=0o700, exist_ok=True)
            descriptor = os.open(self.path / _LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise self.unusable(error) from error
        with os.fdopen(descriptor, "r+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                holder = file.read().strip() or "?"
                raise DataFolderError(
                    f"Hetuflow runs already with the data folder {self.path} (process {holder}); "
                    "stop it, or choose another folder with HETUFLOW_DATA_DIR"
                ) from None
            ended_badly = bool(file.read().strip())
            file.seek(0)
            file.truncate()
            file.write(f"{os.getpid()}\n")
            file.flush()
            try:
                yield ended_badly
            finally:
                file.seek(0)
                file.truncate()
                file.flush()

    def read_secret(self, name: str) -> str:
        """Return the content of a file, empty where it is missing."""
        try:
            return (self.path / name).read_text().strip()
        except FileNotFoundError:
            return ""

    def write_secret(self, name: str, value: str) -> Path:
        """Write a file that only its owner can read, whole or not at all, and return its path."""
        path = self.path / name
        draft = self.path / f".{name}.{os.getpid()}"
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(f"{value}\n")
        draft.replace(path)
        return path

    @contextlib.contextmanager
    def published_address(self, url: str) -> Iterator[None]:
        """Tell other commands the database's address for the length of a `with` block (see settings)."""
        path = self.write_secret(ADDRESS_FILE, url)
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                path.unlink()

    def unusable(self, error: OSError) -> DataFolderError:
        """Return what to tell a person about an error with the folder."""
        return DataFolderError(f"The data folder {self.path} cannot be used: {describe(error)}")


def describe(error: OSError) -> str:
    """Return an error of the file system in words, with the file it is about."""
    what = error.strerror or str(error)
    return f"{what} ({error.filename})" if error.filename else what
