"""Which environment variables a job may set (pure)."""

import re
from collections.abc import Collection, Mapping
from typing import Final

from access.sentences import said as _

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,254}\Z")
MAX_ENVIRONMENT_BYTES: Final = 64 * 1024

# Each of these changes which program runs or what it loads, so only who runs the server may allow them.
# Whoever may run a job may set its variables, and is not to run another program by that.
_DANGEROUS: Final = frozenset(
    # Shells, and programs that other programs start.
    "PATH BASH_ENV ENV IFS SHELLOPTS BASHOPTS PS4 PROMPT_COMMAND CDPATH GLOBIGNORE SHELL EDITOR VISUAL PAGER"
    " BROWSER LESSOPEN LESSCLOSE SSH_ASKPASS"
    # The C library and OpenSSL.
    " GCONV_PATH GLIBC_TUNABLES LOCPATH NLSPATH HOSTALIASES RESOLV_HOST_CONF OPENSSL_CONF OPENSSL_MODULES"
    " OPENSSL_ENGINES SSLKEYLOGFILE"
    # Interpreters and compilers.
    " NODE_OPTIONS NODE_PATH PERL5OPT PERL5LIB PERL5DB PERLLIB RUBYOPT RUBYLIB JAVA_TOOL_OPTIONS"
    " _JAVA_OPTIONS JDK_JAVA_OPTIONS CLASSPATH RUSTC RUSTC_WRAPPER RUSTC_WORKSPACE_WRAPPER RUSTFLAGS".split()
)
_DANGEROUS_PREFIXES: Final = (
    *("LD_", "DYLD_", "HETUFLOW_", "BASH_FUNC_"),
    *("PYTHON", "GIT_", "NPM_CONFIG_", "PIP_", "UV_", "CARGO_"),
)
# Of those with such a prefix, what commands often need and what takes over nothing.
_HARMLESS: Final = frozenset(
    [
        "PYTHONUNBUFFERED",
        "PYTHONDONTWRITEBYTECODE",
        "PYTHONIOENCODING",
        "PYTHONUTF8",
        "PYTHONHASHSEED",
        "PYTHONFAULTHANDLER",
        "PYTHONOPTIMIZE",
        "PYTHONDEVMODE",
        "PYTHONNOUSERSITE",
        "PYTHONSAFEPATH",
        "PYTHONTRACEMALLOC",
        "PYTHONASYNCIODEBUG",
        "GIT_AUTHOR_NAME",
        "GIT_AUTHOR_EMAIL",
        "GIT_AUTHOR_DATE",
        "GIT_COMMITTER_NAME",
        "GIT_COMMITTER_EMAIL",
        "GIT_COMMITTER_DATE",
        "GIT_TERMINAL_PROMPT",
        "CARGO_TERM_COLOR",
        "UV_NO_PROGRESS",
        "PIP_NO_INPUT",
    ]
)


def environment_problem(environment: object, *, allowed: Collection[str] = ()) -> str | None:
    """Return what is wrong with `environment`, a mapping of names to strings, or None.

    Names in `allowed` pass though they are dangerous.
    """
    if not isinstance(environment, Mapping):
        return _('expected an object of strings such as {"STAGE": "test"}')
    for name, value in environment.items():
        if not isinstance(name, str) or not _NAME.match(name):
            return _(
                "%(name)s is not a name of an environment variable: letters, digits and _ only",
                name=repr(str(name)[:80]),
            )
        if not isinstance(value, str) or "\x00" in value:
            return _("%(name)s: expected a string", name=name)
        if _is_dangerous(name.upper()) and name not in allowed:
            return _(
                "%(name)s is reserved; an administrator can allow it with HETUFLOW_ALLOWED_ENVIRONMENT",
                name=name,
            )
    if sum(len(name) + len(value.encode()) for name, value in environment.items()) > MAX_ENVIRONMENT_BYTES:
        return _("the variables together are larger than %(most)s bytes", most=MAX_ENVIRONMENT_BYTES)
    return None


def _is_dangerous(name: str) -> bool:
    return name in _DANGEROUS or (name.startswith(_DANGEROUS_PREFIXES) and name not in _HARMLESS)
