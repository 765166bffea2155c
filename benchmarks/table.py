"""What a benchmark prints."""

import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One figure, and what is aimed at where something is."""

    name: str
    figure: str
    aim: str = ""


def heading(postgres_version: str) -> str:
    """Return a line that says on what the figures were measured."""
    load = os.getloadavg()[0]
    return (
        f"{os.cpu_count()} cores, load {load:.1f} before, Linux {platform.release()}, "
        f"Python {platform.python_version()}, PostgreSQL {postgres_version}"
    )


def print_rows(title: str, rows: Sequence[Row]) -> None:
    """Print a compact table."""
    print(f"\n{title}")
    width = max(len(row.name) for row in rows)
    for row in rows:
        aim = f"   (aim: {row.aim})" if row.aim else ""
        print(f"  {row.name:<{width}}  {row.figure}{aim}")
    sys.stdout.flush()


def quantile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that `share` of all do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, -(-len(ordered) * share // 1).__int__() - 1))]
