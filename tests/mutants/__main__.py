"""`python -m tests.mutants [NAME …]`: make each mistake in a copy of the code and let the tests find it.

Prints one line for each; ends with 1 where a mistake was not noticed, or where a test fails without it.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.mutants.catalogue import MUTANTS, Mutant

ROOT = Path(__file__).resolve().parents[2]
LIMIT_SECS = 600
FAILED, PASSED = 1, 0


def main(arguments: Sequence[str]) -> int:
    """Try the mutants whose names hold one of the words given, or all."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("words", nargs="*", help="only mutants whose names hold one of these")
    words = parser.parse_args(arguments).words
    chosen = [each for each in MUTANTS if not words or any(word in each.name for word in words)]
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        copy = _copy_to(Path(folder) / "code")
        killers = sorted({killer for each in chosen for killer in each.killers})
        code, said = _run(copy, killers)
        if code != PASSED:
            _say(f"the tests fail without any mistake:\n{said}")
            return 1
        survivors = [each for each in chosen if not _is_killed(each, copy)]
    _say(f"{len(chosen) - len(survivors)} of {len(chosen)} mistakes were noticed")
    return 1 if survivors else 0


def _copy_to(folder: Path) -> Path:
    """Copy what git knows, and link what is installed."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True).stdout
    for name in filter(None, listed.decode().split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    return folder


def _is_killed(mutant: Mutant, copy: Path) -> bool:
    path = copy / mutant.path
    sound = path.read_text()
    path.write_text(mutated(sound, mutant))
    begin = time.monotonic()
    try:
        codes = (_run(copy, [killer])[0] for killer in mutant.killers)
        code = next((code for code in codes if code != PASSED), PASSED)
    finally:
        path.write_text(sound)
    words = {FAILED: "noticed", PASSED: "SURVIVED"}.get(code, f"ERROR {code}")
    _say(f"{words:<9} {time.monotonic() - begin:5.1f} s  {mutant.name}")
    return code == FAILED


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def mutated(sound: str, mutant: Mutant) -> str:
    """Return a module with the mistake in it; raise ValueError where the place is not there just once."""
    if sound.count(mutant.old) != 1:
        raise ValueError(f"{mutant.path} holds {sound.count(mutant.old)} times {mutant.old!r}")
    return sound.replace(mutant.old, mutant.new)


def _run(copy: Path, killers: Sequence[str]) -> tuple[int, str]:
    """Return how the tests ended, and the end of what they said."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *killers]
    try:
        done = subprocess.run(command, cwd=copy, capture_output=True, text=True, timeout=LIMIT_SECS)
    except subprocess.TimeoutExpired:
        return FAILED, f"no end after {LIMIT_SECS} s"
    return done.returncode, done.stdout[-4000:]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
