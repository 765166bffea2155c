"""The installation's secret key: made once, kept in the data folder, readable by its owner alone."""

import errno
import os
import secrets
from pathlib import Path
from typing import Final

FILE_NAME: Final = "secret_key"


def read_or_create_secret_key(data_dir: Path) -> str:
    """Return the key in `data_dir/secret_key`, creating file and folder where they are missing.

    Several processes may start at once: the file appears whole or not at all, and the first one wins.
    Raises OSError where the folder cannot be written.
    """
    path = data_dir / FILE_NAME
    try:
        return _read(path)
    except FileNotFoundError:
        pass
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = data_dir / f".{FILE_NAME}.{os.getpid()}"
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_urlsafe(64) + "\n")
    try:
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
    return _read(path)


def _read(path: Path) -> str:
    key = path.read_text().strip()
    if not key:
        raise OSError(errno.EINVAL, "it holds no key; remove it", str(path))
    return key
