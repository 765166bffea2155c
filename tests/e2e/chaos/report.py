"""What a game came to: a line for each round as it goes, and in the end a table."""

from collections import Counter
from collections.abc import Iterable, Sequence

from tests.e2e import oracle
from tests.e2e.chaos.faults import Fault
from tests.e2e.chaos.game import Round

_OWN_INVARIANTS = (
    "I1, I2 a schedule has the task of each of its instants",
    "I10 what wants to be alone is alone",
    "no traceback in any log",
    "every program runs that nobody ended",
    "all is well again within a minute",
)


def line_of(played: Round) -> str:
    """Return one line about a round."""
    names = " + ".join(fault.name for fault in played.faults)
    counts = f"{played.attempts} attempts, {played.lost} lost"
    verdict = "VIOLATION" if played.violation else counts
    return f"round {played.number:>3}  {played.secs:5.1f} s  {names}: {verdict}"


def table(rounds: Sequence[Round], *, faults: Iterable[Fault], again: str) -> str:
    """Return the report of all rounds; `again` is the command that repeats one, but for its round."""
    wrong = [played for played in rounds if played.violation]
    happened = Counter(fault.name for played in rounds for fault in played.faults)
    violated = Counter(fault.name for played in wrong for fault in played.faults)
    lines = ["", f"{'fault':<72} rounds  violations"]
    lines += [f"{f'{f.place}: {f.name}':<72} {happened[f.name]:>6}  {violated[f.name]:>10}" for f in faults]
    judged = len(rounds) - len(wrong)
    lines += ["", f"{'invariant':<72}   held  in rounds"]
    lines += [f"{name:<72} {judged:>6}  {len(rounds):>9}" for name in (*oracle.INVARIANTS, *_OWN_INVARIANTS)]
    lines.append("")
    for played in wrong:
        lines += [
            line_of(played),
            f"  {played.violation}",
            f"  again: {again} --first {played.number} --rounds 1'",
            "",
        ]
    attempts, lost = sum(p.attempts for p in rounds), sum(p.lost for p in rounds)
    longest = max((played.secs for played in rounds), default=0.0)
    lines.append(
        f"{len(rounds)} rounds, {attempts} attempts of which {lost} were lost, the longest round "
        f"{longest:.0f} s: {len(wrong)} violations"
    )
    return "\n".join(lines)
