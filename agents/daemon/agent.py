"""The daemon: attempts in hand, reports and output on their way, and one connection after another."""

import asyncio
import contextlib
import logging
import signal
import socket
import uuid
from collections.abc import Sequence
from typing import Final

import msgspec
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidHandshake, InvalidStatus, WebSocketException

from agents.daemon import executor, outbox
from agents.daemon.attempts import END_SEQ, HeldAttempt
from agents.daemon.backoff import Backoff
from agents.daemon.commands import Commands
from agents.daemon.config import Config
from agents.daemon.logs import LogLines
from agents.daemon.machine import Machine
from agents.daemon.output import OutputSender
from agents.daemon.session import Refused, Replaced, Session
from agents.daemon.supervisor import Supervisor
from agents.daemon.tokens import TokenProblem, TokenSource
from agents.protocol import messages, version
from agents.protocol.codec import FrameError, MessageError

logger = logging.getLogger(__name__)

AGENT_VERSION: Final = "0.1.0"
EXIT_REPLACED: Final = 3
HTTP_FORBIDDEN: Final = 403
MAX_MESSAGE_BYTES: Final = 1024 * 1024
OPEN_TIMEOUT_SECS: Final = 10.0
CLOSE_TIMEOUT_SECS: Final = 2.0
STOP_GRACE_SECS: Final = 5.0
STOP_LIMIT_SECS: Final = 15.0


class AgentDaemon:
    """One start of the daemon on this machine, an epoch of its own."""

    def __init__(self, config: Config, tokens: TokenSource, log_lines: LogLines) -> None:
        self._config = config
        self._tokens = tokens
        self._shown_token = ""
        self._epoch = uuid.uuid4()
        self._session: Session | None = None
        self._backoff = Backoff()
        self._finished = asyncio.Event()
        self._exit_code = 0
        self._is_draining = False
        self._is_stopping = False
        self._minimal: set[uuid.UUID] = set()
        self.outbox = outbox.Outbox()
        self.output = OutputSender()
        self.machine = Machine(config.directory)
        self.commands = Commands(self)
        self.log_lines = log_lines
        self.supervisor = Supervisor(
            config.directory,
            slots=config.slots,
            use_cgroups=config.use_cgroups,
            on_start=self._on_start,
            on_output=self._on_output,
            on_end=self._on_end,
        )

    async def run(self) -> int:
        """Work until told to stop; return the exit status of the process."""
        loop = asyncio.get_running_loop()
        for number, action in (
            (signal.SIGTERM, self.stop_soon),
            (signal.SIGINT, self._stop_everything),
            (signal.SIGUSR1, self.drain),
            (signal.SIGUSR2, self.resume),
        ):
            loop.add_signal_handler(number, action)
        await self.supervisor.start()
        self.log_lines.on_line = self._wake
        connecting = asyncio.create_task(self._stay_connected())
        finished = asyncio.create_task(self._finished.wait())
        await asyncio.wait((connecting, finished), return_when=asyncio.FIRST_COMPLETED)
        for task in (connecting, finished):
            task.cancel()
        results = await asyncio.gather(connecting, finished, return_exceptions=True)
        await self.supervisor.stop()
        for result in results:
            if isinstance(result, Exception):
                raise result
        return self._exit_code

    # --- what operators and signals ask ----------------------------------------------------------------

    def stop_soon(self) -> None:
        """Stop the daemon; commands go on, and the next start finds them."""
        asyncio.get_running_loop().call_later(0.1, self._finished.set)

    def drain(self) -> None:
        """Take no new work; end when what runs has ended and is reported."""
        self._is_draining = True
        logger.info("draining: %s attempts in hand", self.supervisor.in_hand)
        self._offer_slots()
        self._finish_if_drained()

    def resume(self) -> None:
        """Take new work again."""
        self._is_draining = False
        self._offer_slots()

    def change_slots(self, slots: int) -> None:
        """Run so many attempts at once from now on; the server hears of it by a new registration."""
        self.supervisor.slots = slots
        if self._session is not None:
            self._session.reconnect_soon()

    def _stop_everything(self) -> None:
        """End all commands and report them, then stop; asked twice, stop at once."""
        if self._is_stopping:
            self._finished.set()
            return
        self._is_stopping = self._is_draining = True
        logger.info("stopping: ending %s attempts", self.supervisor.in_hand)
        for attempt in list(self.supervisor.attempts.values()):
            self.supervisor.stop_attempt(
                attempt.instance_id,
                status="declined",
                reason="the agent was stopped",
                grace_secs=STOP_GRACE_SECS,
            )
        self._offer_slots()
        asyncio.get_running_loop().call_later(STOP_LIMIT_SECS, self._finished.set)
        self._finish_if_drained()

    def _finish_if_drained(self) -> None:
        if self._is_draining and not self.supervisor.attempts:
            self.stop_soon()

    # --- what sessions ask -----------------------------------------------------------------------------

    def registration(self, *, protocol: int, attempts: list[messages.HeldAttempt]) -> messages.Register:
        """Return who this is and what it holds."""
        return messages.Register(
            protocol=protocol,
            agent_id=self._tokens.agent_id,
            epoch=self._epoch,
            name=self._config.name,
            version=AGENT_VERSION,
            hostname=socket.gethostname()[:255],
            labels=self._config.labels,
            capabilities=messages.Capabilities(
                max_concurrent_tasks=self.supervisor.slots, commands=executor.available_commands()
            ),
            attempts=attempts,
        )

    def registered(self, answer: messages.Registered) -> None:
        """Do what the server says of the attempts that were named, and send what it lacks."""
        self._backoff.reset()
        logger.info("registered with server %s as agent %s", answer.server_id, answer.agent_id)
        self.outbox.requeue()
        self.output.requeue()
        for verdict in answer.attempts:
            attempt = self.supervisor.attempts.get(verdict.instance_id)
            if attempt is None:
                continue
            if verdict.action == "forget":
                self.drop(verdict.instance_id, grace_secs=answer.config.kill_grace_secs)
                continue
            self.output.resume(attempt, verdict.output_offset)
            self.settle_if_done(attempt)
            if verdict.action == "kill":
                self.kill(verdict.instance_id)

    def heartbeat(self, nonce: int) -> messages.Heartbeat:
        """Return how this agent does; it names every attempt whose end the server does not know yet."""
        in_hand = self.supervisor.in_hand
        activity: messages.AgentActivity = "draining" if self._is_draining else "busy" if in_hand else "idle"
        return messages.Heartbeat(
            nonce=nonce,
            status=activity,
            running=in_hand,
            metrics=self.machine.metrics(),
            attempts=[
                messages.AttemptRef(instance_id=attempt.instance_id, token=attempt.token)
                for attempt in self.supervisor.attempts.values()
                if not attempt.is_reported
            ],
        )

    @property
    def offered_slots(self) -> int:
        """How many more attempts the server may send now."""
        return 0 if self._is_draining else self.supervisor.free_slots

    async def take_on(
        self, tasks: Sequence[messages.DispatchedTask], *, received_at: float, lease_until: float
    ) -> tuple[list[messages.AttemptRef], list[messages.DeclinedAttempt]]:
        """Take dispatched tasks on, unless this agent is on its way out."""
        if self._is_draining:
            return [], [
                messages.DeclinedAttempt(instance_id=task.instance_id, token=task.token, reason="draining")
                for task in tasks
            ]
        return await self.supervisor.take_on(tasks, received_at=received_at, lease_until=lease_until)

    def end_is_durable(self, instance_id: uuid.UUID) -> None:
        """The server has the end of this attempt."""
        attempt = self.supervisor.attempts.get(instance_id)
        if attempt is not None:
            attempt.is_reported = True
            self.settle_if_done(attempt)

    def settle_if_done(self, attempt: HeldAttempt) -> None:
        """Let go of an attempt of which the server has everything."""
        if attempt.is_reported and self.output.is_stored(attempt):
            self._forget(attempt)
            self.supervisor.settle(attempt)
            self._finish_if_drained()

    def kill(self, instance_id: uuid.UUID) -> None:
        """End an attempt as the server asks, within the grace of its job, and report it like any other."""
        self.supervisor.stop_attempt(
            instance_id, status="cancelled", reason="stopped by the server", grace_secs=None
        )

    def drop(self, instance_id: uuid.UUID, *, grace_secs: float) -> None:
        """End and forget an attempt that the server does not want."""
        attempt = self.supervisor.attempts.get(instance_id)
        if attempt is not None:
            self._forget(attempt)
            self.supervisor.drop(instance_id, grace_secs=grace_secs)
            self._finish_if_drained()

    def refused(self, frame_id: str, detail: str) -> None:
        """Find the report that a refused frame is about, and send only what cannot be refused of it."""
        for report in self.outbox.refuse(frame_id):
            if report.instance_id in self._minimal or report.seq != END_SEQ:
                self.end_is_durable(report.instance_id)  # there is nothing less that could be said
                continue
            self._minimal.add(report.instance_id)
            self.outbox.put(
                msgspec.structs.replace(
                    report,
                    result=None,
                    metrics=None,
                    error_message=f"The server refused the whole report: {detail[:500]}",
                )
            )
        for attempt in self.output.refuse(frame_id):
            self.settle_if_done(attempt)

    # --- what the supervisor tells ---------------------------------------------------------------------

    def _on_start(self, attempt: HeldAttempt) -> None:
        self.outbox.put(attempt.running_report())
        self._wake()

    def _on_output(self, attempt: HeldAttempt) -> None:
        self.output.note(attempt)
        self._wake()

    def _on_end(self, attempt: HeldAttempt) -> None:
        if attempt.was_declined:
            self._give_back(attempt)
        else:
            self.output.note(attempt)
            self.outbox.put(attempt.end_report())
            self._wake()

    def _give_back(self, attempt: HeldAttempt) -> None:
        """Return an attempt that never began; where this is not heard, the next registration says it."""
        if self._session is not None:
            declined = messages.DeclinedAttempt(
                instance_id=attempt.instance_id,
                token=attempt.token,
                reason=str((attempt.outcome or {}).get("error_message") or "not started"),
            )
            self._session.send_soon(messages.Accepted(declined=[declined]))
            self._session.offer_slots()
        self.supervisor.settle(attempt)
        self._finish_if_drained()

    def _forget(self, attempt: HeldAttempt) -> None:
        self.outbox.forget(attempt.instance_id)
        self.output.forget(attempt)
        self._minimal.discard(attempt.instance_id)

    def _wake(self) -> None:
        if self._session is not None:
            self._session.wake()

    def _offer_slots(self) -> None:
        if self._session is not None:
            self._session.offer_slots()

    # --- connecting ------------------------------------------------------------------------------------

    async def _stay_connected(self) -> None:
        """Connect again and again, with jitter, until there is nothing more to connect for."""
        while True:
            asked_secs = 0.0
            try:
                asked_secs = await self._connect_once() or 0.0
            except Replaced:
                logger.critical(
                    "another daemon registered as agent %s; this one stops, with all that it runs",
                    self._tokens.agent_id,
                )
                self._exit_code = EXIT_REPLACED
                await self._end_all()
                return
            except InvalidStatus as error:
                if self._has_another_token(error.response.status_code):
                    continue
            except (Refused, TokenProblem) as error:
                logger.error("the server does not take this agent: %s", error)
            except (OSError, TimeoutError, WebSocketException, InvalidHandshake) as error:
                logger.warning("no connection to %s: %s", self._config.server, _reason(error))
            except (FrameError, MessageError) as error:
                logger.error("%s does not speak this protocol: %s", self._config.server, error)
            # A goodbye may name a time; otherwise the jitter alone decides.
            await asyncio.sleep(max(asked_secs, self._backoff.next_delay_secs()))

    def _has_another_token(self, status: int) -> bool:
        """Tell of a refused handshake; return whether there is another token, to be tried at once.

        Somebody may have replaced the token meanwhile, or revoked the one that was given and not the stored.
        """
        if status == HTTP_FORBIDDEN and self._tokens.refuse(self._shown_token):
            logger.warning("the server refuses this token; trying another one that is here")
            return True
        hint = (
            " (its token has expired or was revoked; --enroll gets another one)"
            if status == HTTP_FORBIDDEN
            else ""
        )
        logger.error("the server refuses the connection: HTTP %s%s", status, hint)
        return False

    async def _connect_once(self) -> float | None:
        """Hold one session; return how long the server asks to wait before the next."""
        self._shown_token = self._tokens.next()
        async with connect(
            self._config.server + version.SOCKET_PATH,
            subprotocols=[version.SUBPROTOCOL],  # type: ignore[list-item]
            additional_headers={"Authorization": f"Bearer {self._shown_token}"},
            compression=None,
            max_size=MAX_MESSAGE_BYTES,
            open_timeout=OPEN_TIMEOUT_SECS,
            close_timeout=CLOSE_TIMEOUT_SECS,
            ping_interval=version.PING_INTERVAL_SECS,
            ping_timeout=version.PING_TIMEOUT_SECS,
        ) as websocket:
            self._session = Session(self, websocket)
            try:
                await self._session.run()
            except WebSocketException as error:
                logger.info("the connection has ended: %s", _reason(error))
            finally:
                session, self._session = self._session, None
        return session.reconnect_after_secs

    async def _end_all(self) -> None:
        """End every command at once, and wait until they are gone."""
        for attempt in list(self.supervisor.attempts.values()):
            self._forget(attempt)
            self.supervisor.drop(attempt.instance_id, grace_secs=0)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_LIMIT_SECS):
                while self.supervisor.in_hand:  # noqa: ASYNC110 (ends are noticed by callbacks of the loop)
                    await asyncio.sleep(0.05)


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__
