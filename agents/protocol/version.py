"""Numbers that both ends of the agent socket must agree on."""

from typing import Final

PROTOCOL_VERSION: Final = 1
# What a server takes: the current version and the one before, because agents are upgraded after servers.
SUPPORTED_VERSIONS: Final = frozenset({1})
SUBPROTOCOL: Final = "hetuflow.agent.v1"
SOCKET_PATH: Final = "/ws/agent"

MAX_FRAME_BYTES: Final = 256 * 1024
MAX_DEPTH: Final = 32
MAX_UNACKED_BYTES: Final = 1024 * 1024
MAX_UNACKED_MESSAGES: Final = 1000
MAX_REPORTS_PER_FRAME: Final = 100

REGISTER_TIMEOUT_SECS: Final = 10.0
PING_INTERVAL_SECS: Final = 5.0
PING_TIMEOUT_SECS: Final = 10.0
RECONNECT_MIN_SECS: Final = 0.5
RECONNECT_MAX_SECS: Final = 30.0

# WebSocket close codes. 1xxx are RFC 6455, section 7.4.1; 4xxx are ours.
CLOSE_NOT_JSON: Final = 1007
CLOSE_POLICY: Final = 1008
CLOSE_TOO_BIG: Final = 1009
CLOSE_INTERNAL: Final = 1011
CLOSE_RESTART: Final = 1012
CLOSE_TRY_LATER: Final = 1013
CLOSE_REPLACED: Final = 4000
CLOSE_DISCONNECTED: Final = 4001
