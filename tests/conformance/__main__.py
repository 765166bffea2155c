"""`make fuzz`: let schemathesis try the REST API for longer than `make test`, by another chance each time."""

import argparse
import os
import random
import sys
from pathlib import Path

import pytest

PHASES = "examples,coverage,fuzzing,stateful"
LIMIT_SECS = 4 * 3600


def main() -> int:
    """Run the fuzz test with what was asked for, and return the status for the shell."""
    parser = argparse.ArgumentParser(prog="make fuzz", description="Arguments go into ARGS.")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    parser.add_argument("--examples", type=int, default=100, help="for each operation and phase (100)")
    given = parser.parse_args()
    again = f"make fuzz ARGS='--seed {given.seed} --examples {given.examples}'"
    print(f"seed {given.seed}; the same again: {again}", flush=True)  # noqa: T201
    os.environ |= {
        "HETUFLOW_FUZZ_SEED": str(given.seed),
        "HETUFLOW_FUZZ_EXAMPLES": str(given.examples),
        "HETUFLOW_FUZZ_PHASES": PHASES,
        "HETUFLOW_FUZZ_LIMIT_SECS": str(LIMIT_SECS),
    }
    test = Path(__file__).parent / "test_schema_fuzz.py"
    return int(pytest.main(["-s", "-q", "-o", f"timeout={LIMIT_SECS + 60}", str(test)]))


if __name__ == "__main__":
    sys.exit(main())
