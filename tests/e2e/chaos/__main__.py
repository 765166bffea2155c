"""`make chaos`: let everything fail by chance while work runs, and see that nothing is lost or doubled."""

import argparse
import itertools
import os
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

import django

MINUTES = 10.0


def main() -> int:
    """Play for as long as was asked, and return the status for the shell: 1 after a violation."""
    parser = argparse.ArgumentParser(prog="make chaos", description="Arguments go into ARGS.")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    parser.add_argument(
        "--minutes", type=float, default=MINUTES, help=f"begin no round after these ({MINUTES:g})"
    )
    parser.add_argument("--rounds", type=int, default=10**6, help="at most so many")
    parser.add_argument("--first", type=int, default=1, help="begin with this round of the seed")
    parser.add_argument("--together", type=int, default=2, help="so many faults in a round (2)")
    parser.add_argument("--faults", default="", help="only those whose place or name holds this")
    given = parser.parse_args()
    chosen = f"--together {given.together}" + (f' --faults "{given.faults}"' if given.faults else "")
    again = f"make chaos ARGS='--seed {given.seed} {chosen}"
    _say(f"seed {given.seed}; the same again: {again}'")
    folder = Path(tempfile.mkdtemp(prefix="hf-chaos-"))
    folder.chmod(0o711)
    _set_up_django(folder)
    is_well = _play(folder, given, again)
    if is_well:
        shutil.rmtree(folder, ignore_errors=True)
    else:
        _say(f"logs are in {folder}")
    return 0 if is_well else 1


def _set_up_django(folder: Path) -> None:
    """Let Django be there, with a database that each world puts in; programs get what `folder` has."""
    os.environ |= {
        "DJANGO_SETTINGS_MODULE": "hetuflow.settings",
        "HETUFLOW_DATA_DIR": str(folder / "data"),
        "HETUFLOW_DATABASE_POOL_SIZE": "0",
    }
    (folder / "data" / "static").mkdir(parents=True)
    django.setup()
    del os.environ["HETUFLOW_DATABASE_POOL_SIZE"]


def _play(folder: Path, given: argparse.Namespace, again: str) -> bool:
    from tests.e2e.chaos import game, report
    from tests.e2e.chaos.faults import FAULTS

    faults = [fault for fault in FAULTS.values() if given.faults in f"{fault.place}: {fault.name}"]
    if not faults:
        sys.exit(f"no fault's place or name holds {given.faults!r}; there are: {', '.join(FAULTS)}")
    end_at = time.monotonic() + 60 * given.minutes
    waiting = game.rounds(given.seed, faults, given.together)
    waiting = itertools.islice(waiting, given.first - 1, given.first - 1 + given.rounds)
    waiting = itertools.takewhile(lambda _: time.monotonic() < end_at, waiting)
    over: list[game.Round] = []
    try:
        for played in game.play(folder, waiting):
            over.append(played)
            _say(report.line_of(played))
    except KeyboardInterrupt:
        _say("interrupted")
    _say(report.table(over, faults=faults, again=again))
    return not any(played.violation for played in over)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
