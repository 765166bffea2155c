"""What is true of tasks, attempts and output for ever; the names are those of `docs/reliability.md`."""

from typing import Final

from scheduling.invariants.checks import Check

_TASKS: Final = "(SELECT * FROM scheduling_task ORDER BY id DESC LIMIT %(recent)s)"
# Their ids grow with time.
_ATTEMPTS: Final = "(SELECT * FROM scheduling_taskinstance ORDER BY id DESC LIMIT %(recent)s)"
# Rows of output are large and many.
_PRINTING_SHARE: Final = 20
_PRINTING: Final = (
    f"(SELECT * FROM scheduling_taskinstance ORDER BY id DESC LIMIT %(recent)s::bigint / {_PRINTING_SHARE})"
)
_LIVE: Final = "('pending', 'dispatched', 'running')"
_ENDED: Final = "('completed', 'failed', 'cancelled')"

_LATEST_TASKS: Final = "the latest {} tasks"
_LATEST_ATTEMPTS: Final = "the latest {} attempts"
_RESTORE: Final = "restore what the group `schema` says is missing"

CHECKS: Final = (
    Check(
        "I1 one task per instant",
        "task",
        f"""SELECT max(t.id) AS id FROM {_TASKS} t WHERE t.schedule_id IS NOT NULL
            GROUP BY t.schedule_id, t.scheduled_at HAVING count(*) > 1""",
        f"delete the doubled task (DELETE /api/v1/tasks/ID), then {_RESTORE}",
        _LATEST_TASKS,
    ),
    Check(
        "I1 one task per instant of a backfill",
        "task",
        f"""SELECT max(t.id) AS id FROM {_TASKS} t WHERE t.backfill_id IS NOT NULL
            GROUP BY t.backfill_id, t.scheduled_at HAVING count(*) > 1""",
        f"delete the doubled task (DELETE /api/v1/tasks/ID), then {_RESTORE}",
        _LATEST_TASKS,
    ),
    Check(
        "I3 one live attempt per task",
        "task",
        f"""SELECT task_id AS id FROM scheduling_taskinstance WHERE status IN {_LIVE}
            GROUP BY task_id HAVING count(*) > 1""",
        f"cancel the task (POST /api/v1/tasks/ID/cancel), which stops all its attempts, then {_RESTORE}",
    ),
    Check(
        "I4 a task that ended has no live attempt",
        "task",
        f"""SELECT t.id FROM scheduling_taskinstance i JOIN scheduling_task t ON t.id = i.task_id
            WHERE i.status IN {_LIVE} AND t.status IN {_ENDED}""",
        "cancel the attempt (POST /api/v1/task-instances/ID/cancel); somebody changed rows by hand",
    ),
    Check(
        "I4 a task has a time of its end when it has ended, and only then",
        "task",
        f"SELECT t.id FROM {_TASKS} t WHERE (t.completed_at IS NULL) = (t.status IN {_ENDED})",
        _RESTORE,
        _LATEST_TASKS,
    ),
    Check(
        "I4 an attempt has a time of its end when it has ended, and only then",
        "attempt",
        f"SELECT i.id FROM {_ATTEMPTS} i WHERE (i.completed_at IS NULL) <> (i.status IN {_LIVE})",
        "find who changed rows by hand: no program of Hetuflow leaves this",
        _LATEST_ATTEMPTS,
    ),
    Check(
        "I4 a task ends as its last attempt did",
        "task",
        f"""SELECT t.id FROM {_TASKS} t JOIN scheduling_taskinstance i
                ON i.task_id = t.id AND i.attempt = t.attempt_count
            WHERE t.status IN {_ENDED} AND t.manual_retries = 0
              AND (t.status = 'completed') <> (i.status = 'completed')""",
        "find who changed rows by hand: no program of Hetuflow leaves this",
        _LATEST_TASKS,
    ),
    Check(
        "a task on an agent has a live attempt",
        "task",
        f"""SELECT t.id FROM scheduling_task t WHERE t.status IN ('locked', 'dispatched', 'running')
              AND NOT EXISTS (SELECT FROM scheduling_taskinstance i
                              WHERE i.task_id = t.id AND i.status IN {_LIVE})""",
        "nothing will move it any more: cancel the task (POST /api/v1/tasks/ID/cancel) and retry it",
    ),
    Check(
        "a task that somebody wants cancelled is not tried again",
        "task",
        f"""SELECT t.id FROM {_TASKS} t
            WHERE t.cancel_requested_at IS NOT NULL AND t.status IN ('pending', 'waiting_retry')""",
        "cancel the task once more (POST /api/v1/tasks/ID/cancel)",
        _LATEST_TASKS,
    ),
    Check(
        "no more retries than allowed",
        "task",
        f"SELECT t.id FROM {_TASKS} t WHERE t.retry_count > t.max_retries",
        "find who changed rows by hand: no program of Hetuflow leaves this",
        _LATEST_TASKS,
    ),
    Check(
        "I5 tokens grow with the attempts of a task",
        "attempt",
        f"""SELECT i.id FROM {_ATTEMPTS} i JOIN scheduling_taskinstance before
                ON before.task_id = i.task_id AND before.attempt = i.attempt - 1
            WHERE i.token <= before.token""",
        "cancel the live attempts: an agent with an old token could report for a new one",
        _LATEST_ATTEMPTS,
    ),
    Check(
        "I5 the sequence of tokens is ahead of every token",
        "attempt",
        """SELECT i.id FROM scheduling_taskinstance i
           WHERE i.token > (SELECT last_value FROM scheduling_fencing_token)""",
        "a restore left the sequence behind; run in psql: SELECT setval('scheduling_fencing_token', "
        "(SELECT max(token) FROM scheduling_taskinstance));",
    ),
    Check(
        "attempts are numbered as their task counts them",
        "task",
        f"""SELECT t.id FROM {_TASKS} t, LATERAL (
                SELECT max(i.attempt) AS last FROM scheduling_taskinstance i WHERE i.task_id = t.id) attempts
            WHERE attempts.last > t.attempt_count""",
        "find who changed rows by hand: no program of Hetuflow leaves this",
        _LATEST_TASKS,
    ),
    Check(
        "an attempt belongs to the job and the namespace of its task",
        "attempt",
        f"""SELECT i.id FROM {_ATTEMPTS} i LEFT JOIN scheduling_task t ON t.id = i.task_id
            WHERE t.id IS NULL OR i.job_id <> t.job_id OR i.namespace <> t.namespace""",
        f"who may see it is decided by its namespace: {_RESTORE}, and mend the row",
        _LATEST_ATTEMPTS,
    ),
    Check(
        "nothing ends before it starts",
        "attempt",
        f"SELECT i.id FROM {_ATTEMPTS} i WHERE i.completed_at < i.started_at",
        "look at the group `clocks`; only what is shown is wrong, nothing was decided by it",
        _LATEST_ATTEMPTS,
    ),
    Check(
        "I7, I13 output is whole and in order",
        "attempt",
        f"""SELECT DISTINCT chunk.id FROM (
                SELECT i.id, c."offset" AS at, COALESCE(lag(c."offset" + octet_length(c.data)) OVER
                    (PARTITION BY c.instance_id, c.stream ORDER BY c."offset"), 0) AS expected
                FROM {_PRINTING} i JOIN scheduling_outputchunk c ON c.instance_id = i.id) chunk
            WHERE chunk.at <> chunk.expected""",
        "bytes of its output are missing or doubled in the database: restore them from a backup, and look "
        "whether the machine of the database lost writes (fsync, its disks)",
        _LATEST_ATTEMPTS,
        _PRINTING_SHARE,
    ),
    Check(
        "I7 output is as long as it is said to be",
        "attempt",
        f"""SELECT i.id FROM {_PRINTING} i, LATERAL (
                SELECT COALESCE(sum(octet_length(c.data)) FILTER (WHERE c.stream = 1), 0) AS out,
                       COALESCE(sum(octet_length(c.data)) FILTER (WHERE c.stream = 2), 0) AS err
                FROM scheduling_outputchunk c WHERE c.instance_id = i.id) stored
            WHERE stored.out <> i.stdout_bytes OR stored.err <> i.stderr_bytes""",
        "bytes of its output are missing in the database: restore them from a backup, and look whether the "
        "machine of the database lost writes (fsync, its disks)",
        _LATEST_ATTEMPTS,
        _PRINTING_SHARE,
    ),
    Check(
        "I10 no two live attempts share a place of their job",
        "job",
        f"""SELECT job_id AS id FROM scheduling_taskinstance WHERE status IN {_LIVE} AND place IS NOT NULL
            GROUP BY job_id, place HAVING count(*) > 1""",
        f"it runs more often at once than its max_concurrency: cancel one of its tasks, then {_RESTORE}",
    ),
    Check(
        "a backfill counts no more instants than it has",
        "backfill",
        """SELECT b.id FROM scheduling_backfill b
           WHERE b.planned + b.left_out > b.total AND b.status <> 'completed'
           ORDER BY b.id DESC LIMIT %(recent)s""",
        "cancel the backfill and ask for it anew",
    ),
)
