"""Days of change, as pages for people; `python -m tests.scheduling.golden.pages` writes them.

Each row is an instant, each column a policy; `runs` where it runs. The oracle fills them in.
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from tests.scheduling.golden import cases
from tests.scheduling.golden.oracle import EPOCH, Walk

FOLDER = Path(__file__).parent / "pages"
COLUMNS = {"as cron": (None, None)}
COLUMNS |= {f"{gap.partition('_')[0]} {overlap}": (gap, overlap) for gap, overlap in cases.POLICIES}
HEADING = f"{'local time':<31}{'UTC':<22}{''.join(f'{name:<13}' for name in COLUMNS)}".rstrip()


def path_of(zone):
    return FOLDER / f"{zone.replace('/', '-')}.txt"


def page(zone, plan):
    """Return a zone's page; `plan(expression, begin, end, gap, overlap)` gives seconds since the epoch."""
    days, expressions = cases.DAYS[zone]
    lines = [zone]
    for day in days:
        noon = datetime.fromisoformat(day).replace(hour=12, tzinfo=UTC)
        begin, end = noon - timedelta(hours=30), noon + timedelta(hours=30)
        lines += ["", f"# {day}: {told_change(zone, begin, end)}"]
        for expression in expressions:
            lines += ["", expression, HEADING]
            lines += rows(zone, {name: plan(expression, begin, end, *COLUMNS[name]) for name in COLUMNS})
    return "\n".join(lines) + "\n"


def rows(zone, planned):
    """Yield a line for each instant that one of the policies has."""
    instants = sorted(set().union(*(set(map(int, each)) for each in planned.values())))
    for at in instants:
        utc = EPOCH + timedelta(seconds=at)
        local = utc.astimezone(ZoneInfo(zone))
        marks = "".join(f"{'runs' if at in each else '-':<13}" for each in planned.values())
        yield f"{local:%a %F %T} {local:%z} {utc:%F %TZ}  {marks}".rstrip()


def told_change(zone, begin, end):
    change = Walk(zone, begin, end).changes()[0]
    before, after = (
        (change - back).astimezone(ZoneInfo(zone)) for back in (timedelta(minutes=1), timedelta())
    )
    return f"after {before:%a %F %H:%M} ({before:%z}) comes {after:%a %F %H:%M} ({after:%z})"


def by_oracle(zone):
    def plan(expression, begin, end, gap, overlap):
        step = 60 if len(expression.split()) == 5 else 1
        part = Walk(zone, begin - timedelta(hours=26), end, step).part(begin, end)
        return part.runs(expression, part.matches(expression), gap, overlap)

    return page(zone, plan)


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for each in cases.DAYS:
        path_of(each).write_text(by_oracle(each))
