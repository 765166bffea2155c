"""Where the test and the program that it starts leave what the other one reads."""

import os
from pathlib import Path
from typing import Final

FOLDER_VARIABLE: Final = "HETUFLOW_FUZZ_FOLDER"


def folder() -> Path:
    """Return the folder of the run that this process belongs to."""
    return Path(os.environ[FOLDER_VARIABLE])


def things(of: Path) -> Path:
    return of / "things.json"


def record(of: Path) -> Path:
    return of / "record.jsonl"
