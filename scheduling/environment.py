"""Which environment variables a job may set (pure)."""

import re
from collections.abc import Collection, Mapping
from typing import Final

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,254}\Z")
MAX_ENVIRONMENT_BYTES: Final = 64 * 1024

# Each of these changes which program runs or what it loads, so only who runs the server may allow them.
_DANGEROUS: Final = frozenset(
    {
        "PATH",
        "BASH_ENV",
        "ENV",
        "IFS",
        "SHELLOPTS",
        "BASHOPTS",
        "PS4",
        "PYTHONSTARTUP",
        "PYTHONPATH",
        "PYTHONHOME",
    }
    | {"NODE_OPTIONS", "PERL5OPT", "RUBYOPT", "JAVA_TOOL_OPTIONS", "_JAVA_OPTIONS", "GCONV_PATH"}
)
_DANGEROUS_PREFIXES: Final = ("LD_", "DYLD_", "HETUFLOW_", "BASH_FUNC_")


def environment_problem(environment: object, *, allowed: Collection[str] = ()) -> str | None:
    """Return what is wrong with `environment`, a mapping of names to strings, or None.

    Names in `allowed` pass though they are dangerous.
    """
    if not isinstance(environment, Mapping):
        return 'expected an object of strings such as {"STAGE": "test"}'
    for name, value in environment.items():
        if not isinstance(name, str) or not _NAME.match(name):
            return f"{str(name)[:80]!r} is not a name of an environment variable: letters, digits and _ only"
        if not isinstance(value, str) or "\x00" in value:
            return f"{name}: expected a string"
        is_dangerous = name.upper() in _DANGEROUS or name.upper().startswith(_DANGEROUS_PREFIXES)
        if is_dangerous and name not in allowed:
            return f"{name} is reserved; an administrator can allow it with HETUFLOW_ALLOWED_ENVIRONMENT"
    if sum(len(name) + len(value.encode()) for name, value in environment.items()) > MAX_ENVIRONMENT_BYTES:
        return f"the variables together are larger than {MAX_ENVIRONMENT_BYTES} bytes"
    return None
