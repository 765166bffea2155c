"""Clocks of programs that are wrong, from their start or all at once; steady clocks go on as they should."""

import os
import struct
import uuid
from pathlib import Path
from typing import Final

_FOLDER: Final = Path(__file__).with_name("wrong_clock")
_LAUNCH: Final = f"import sys; sys.path.insert(0, {str(_FOLDER)!r}); import sitecustomize, runpy; \
sys.argv = sys.argv[5:]; runpy.run_path(sys.argv[0], run_name='__main__')"


class Clock:
    """A clock for programs that are started with its `environment`; `set` changes it while they run."""

    def __init__(self, folder: Path, *, ahead_secs: float = 0.0) -> None:
        self._file = folder / f"clock-{uuid.uuid4().hex[:6]}"
        self._launcher = self._file.with_suffix(".sh")
        self.set(ahead_secs)

    def set(self, ahead_secs: float) -> None:
        """Let it be ahead of this machine's by so much, from now on."""
        with self._file.open("r+b" if self._file.exists() else "wb") as file:
            file.write(struct.pack("d", ahead_secs))

    @property
    def environment(self) -> dict[str, str]:
        folders = [str(_FOLDER), *filter(None, [os.environ.get("PYTHONPATH")])]
        return {"PYTHONPATH": os.pathsep.join(folders), "WRONG_CLOCK_FILE": str(self._file)}

    def environment_of_agent(self, python: Path) -> dict[str, str]:
        """Return the environment of an agent, whose launcher gets the clock by a way of its own."""
        self._launcher.write_text(
            f'#!/bin/sh\nWRONG_CLOCK_FILE="{self._file}" exec "{python}" -I -S -X utf8 -c "{_LAUNCH}" "$@"\n'
        )
        self._launcher.chmod(0o755)
        return {
            "PYTHONPATH": str(_FOLDER),
            "WRONG_CLOCK_FILE": str(self._file),
            "WRONG_CLOCK_LAUNCHER": str(self._launcher),
        }
