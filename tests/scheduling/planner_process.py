"""A process that plans when it is told to, in children of its own, which die where they are told to.

A line of JSON in: `now`, `horizon_secs`, `catch_up_secs`, `points`. A child is forked for each point, all at
once; it counts one before and one after each statement and commit, and kills itself (SIGKILL) when it has
come to its point, if it does (`null` never does). `limit_ms`, if given, kills what still runs after so long.
A line out: the exit statuses, as of `waitpid`.
"""

import itertools
import json
import os
import select
import signal
import sys
from datetime import datetime

import django

KILLED = signal.SIGKILL.value


def main():
    django.setup()
    from django.db import connection

    from scheduling.services import planning  # noqa: F401 (so that children need not)

    assert connection.connection is None
    for line in sys.stdin:
        order = json.loads(line)
        children = [_fork(order, point) for point in order["points"]]
        if order.get("limit_ms") is not None:
            _kill_after(children, order["limit_ms"] / 1000)
        statuses = [os.waitpid(child, 0)[1] for child in children]
        sys.stdout.write(json.dumps(statuses) + "\n")
        sys.stdout.flush()


def _fork(order, point):
    child = os.fork()
    if child == 0:
        try:
            _plan(order, point)
        except BaseException:  # noqa: BLE001 (a child must never come back to the loop)
            sys.excepthook(*sys.exc_info())
            os._exit(1)
        os._exit(0)
    return child


def _plan(order, point):
    from django.db import connection

    from scheduling.services import planning

    events = itertools.count(1)

    def pass_by():
        if next(events) == point:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(execute, *arguments):
        pass_by()
        result = execute(*arguments)
        pass_by()
        return result

    commit = connection._commit

    def commit_between():
        pass_by()
        commit()
        pass_by()

    connection._commit = commit_between
    with connection.execute_wrapper(around):
        planning.run_once(
            now=datetime.fromisoformat(order["now"]),
            horizon_secs=order["horizon_secs"],
            catch_up_secs=order["catch_up_secs"],
        )


def _kill_after(children, limit_secs):
    """Kill the children that have not ended within a limit."""
    for child in children:
        ended = os.pidfd_open(child)
        if not select.select([ended], [], [], limit_secs)[0]:
            os.kill(child, signal.SIGKILL)
        os.close(ended)


if __name__ == "__main__":
    main()
