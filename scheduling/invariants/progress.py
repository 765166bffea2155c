"""What may not stay as it is: rows that somebody should have moved on by now (I8, I9)."""

from typing import Final

from scheduling.invariants.checks import Check

# More than a rescue takes, a heartbeat and a restart of the scheduler.
PATIENCE_SECS: Final = 60
_LIVE: Final = "('pending', 'dispatched', 'running')"
_PATIENCE: Final = f"interval '{PATIENCE_SECS} seconds'"
_RESTART_AGENT: Final = (
    "restart its agent, whose commands go on meanwhile, and see its log: "
    "systemctl restart hetuflow-agent; journalctl -u hetuflow-agent"
)

CHECKS: Final = (
    Check(
        "I8 no attempt outlives its lease",
        "attempt",
        # Leases are held against agents only while servers have been there long enough to renew them.
        f"""SELECT i.id FROM scheduling_taskinstance i JOIN scheduling_task t ON t.id = i.task_id
            WHERE i.status IN {_LIVE}
              AND (i.lease_expires_at IS NULL OR i.lease_expires_at < %(now)s - {_PATIENCE}
                  - CASE t.config->>'on_lease_lost' WHEN 'kill'
                    THEN COALESCE((t.config->>'kill_grace_secs')::int, 10) ELSE 0 END * interval '1 second')
              AND EXISTS (SELECT FROM scheduling_lease l WHERE l.name = 'gateway'
                          AND l.renewed_at > %(now)s - interval '6 seconds'
                          AND l.since < %(now)s - interval '30 seconds' - {_PATIENCE})""",
        "a scheduler ends them within a second: start one (manage.py scheduler), or see in its log why not",
    ),
    Check(
        "I8 no claim waits for its agent's word",
        "attempt",
        f"""SELECT i.id FROM scheduling_taskinstance i WHERE i.status = 'pending' AND NOT i.by_hand
              AND i.created_at < %(now)s - {_PATIENCE} AND i.lease_expires_at > %(now)s""",
        _RESTART_AGENT,
    ),
    Check(
        "I8 no attempt waits past its start",
        "attempt",
        f"""SELECT i.id FROM scheduling_taskinstance i WHERE i.status = 'dispatched' AND NOT i.by_hand
              AND i.start_at < %(now)s - {_PATIENCE} AND i.dispatched_at < %(now)s - {_PATIENCE}
              AND i.lease_expires_at > %(now)s""",
        _RESTART_AGENT,
    ),
    Check(
        "I9 no attempt runs on after its cancel",
        "attempt",
        f"""SELECT i.id FROM scheduling_taskinstance i JOIN scheduling_task t ON t.id = i.task_id
            WHERE i.status IN {_LIVE} AND i.lease_expires_at > %(now)s
              AND i.cancel_requested_at < %(now)s - {_PATIENCE}
                  - COALESCE((t.config->>'kill_grace_secs')::int, 10) * interval '1 second'""",
        _RESTART_AGENT,
    ),
    Check(
        "I9 no attempt runs on after its time",
        "attempt",
        f"""SELECT i.id FROM scheduling_taskinstance i JOIN scheduling_task t ON t.id = i.task_id
            WHERE i.status = 'running' AND i.lease_expires_at > %(now)s AND NOT i.by_hand
              AND i.started_at < %(now)s - {_PATIENCE}
                  - COALESCE((t.config->>'timeout_secs')::float, 3600) * interval '1 second'
                  - COALESCE((t.config->>'kill_grace_secs')::int, 10) * interval '1 second'""",
        _RESTART_AGENT,
    ),
    Check(
        "I10 an agent has no more attempts than slots",
        "agent",
        # Those of this session: before, the agent may have had more slots. Not the latest: a slot is given
        # away when the end of an attempt is heard of, a moment before it is written.
        f"""SELECT a.id FROM scheduling_taskinstance i JOIN agents_agent a ON a.id = i.agent_id
            WHERE i.status IN {_LIVE} AND NOT i.by_hand AND i.created_at > a.connected_at
              AND i.created_at < %(now)s - interval '10 seconds'
            GROUP BY a.id
            HAVING count(*) > COALESCE((a.capabilities->>'max_concurrent_tasks')::int, 0)""",
        "two servers gave it work at once, or rows were changed by hand: " + _RESTART_AGENT,
    ),
    Check(
        "I10 a job has no more attempts at once than it may",
        "job",
        # Those that began under the limit as it is.
        f"""SELECT j.id FROM scheduling_taskinstance i JOIN scheduling_job j ON j.id = i.job_id
            WHERE i.status IN {_LIVE} AND i.created_at > j.updated_at AND j.max_concurrency IS NOT NULL
            GROUP BY j.id HAVING count(*) > j.max_concurrency""",
        "cancel one of its tasks (POST /api/v1/tasks/ID/cancel), and restore what the group `schema` says is "
        "missing",
    ),
)
