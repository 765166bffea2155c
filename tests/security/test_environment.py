"""Names of variables that change which program runs, or what it loads, are refused everywhere."""

import pytest

from scheduling.environment import environment_problem
from scheduling.models import Job, Task
from tests import factories, people
from tests.database import fingerprint

DANGEROUS = (
    # The loader and the C library.
    "LD_PRELOAD LD_LIBRARY_PATH LD_AUDIT LD_ANYTHING_NEW DYLD_INSERT_LIBRARIES GCONV_PATH GLIBC_TUNABLES"
    " LOCPATH NLSPATH HOSTALIASES RESOLV_HOST_CONF"
    # Shells.
    " PATH BASH_ENV ENV IFS SHELLOPTS BASHOPTS PS4 PROMPT_COMMAND BASH_FUNC_ls CDPATH GLOBIGNORE SHELL"
    # Interpreters and what they start.
    " PYTHONPATH PYTHONHOME PYTHONSTARTUP PYTHONUSERBASE PYTHONBREAKPOINT PYTHONWARNINGS PYTHONINSPECT"
    " PYTHONEXECUTABLE PYTHONPLATLIBDIR PYTHONPYCACHEPREFIX NODE_OPTIONS NODE_PATH PERL5OPT PERL5LIB PERL5DB"
    " PERLLIB RUBYOPT RUBYLIB JAVA_TOOL_OPTIONS _JAVA_OPTIONS JDK_JAVA_OPTIONS CLASSPATH"
    # Tools of the kinds of commands.
    " NPM_CONFIG_SCRIPT_SHELL npm_config_node_options UV_PYTHON UV_INDEX_URL PIP_INDEX_URL CARGO_HOME"
    " CARGO_BUILD_RUSTC_WRAPPER RUSTC RUSTC_WRAPPER RUSTFLAGS"
    # Programs that programs start.
    " GIT_SSH_COMMAND GIT_EXEC_PATH GIT_CONFIG_COUNT GIT_ASKPASS EDITOR VISUAL PAGER BROWSER LESSOPEN"
    " LESSCLOSE SSH_ASKPASS OPENSSL_CONF OPENSSL_MODULES OPENSSL_ENGINES SSLKEYLOGFILE"
    " HETUFLOW_AGENT_TOKEN HETUFLOW_ANYTHING"
).split()
HARMLESS = [
    "STAGE",
    "LANG",
    "LC_ALL",
    "TZ",
    "PYTHONUNBUFFERED",
    "PYTHONDONTWRITEBYTECODE",
    "PYTHONIOENCODING",
    "PYTHONUTF8",
    "PYTHONHASHSEED",
    "NODE_ENV",
    "NODE_EXTRA_CA_CERTS",
    "HTTP_PROXY",
    "https_proxy",
    "NO_PROXY",
    "TMPDIR",
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "AWS_PROFILE",
    "DATABASE_URL",
    "HOME",
    "GIT_AUTHOR_NAME",
    "JAVA_HOME",
    "GOPATH",
    "GITHUB_TOKEN",
    "PATHS",
    "MY_PATH",
    "LDAP_URL",
    "ENVIRONMENT",
    "DEBUG",
]

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("name", DANGEROUS)
def test_a_name_that_takes_over_programs_is_refused_in_any_case(name):
    for spelt in (name, name.lower(), name.title()):
        assert "reserved" in (environment_problem({spelt: "x"}) or ""), spelt
    assert environment_problem({name: "x"}, allowed=[name]) is None


@pytest.mark.parametrize("name", HARMLESS)
def test_a_name_that_commands_need_is_taken(name):
    assert environment_problem({name: "x"}) is None


@pytest.mark.parametrize("name", ["", "A B", "A=B", "1A", "A\n", "A\x00", "\u0410", "x" * 256, "A-B"])
def test_what_is_no_name_is_refused(name):
    assert environment_problem({name: "x"}) is not None


@pytest.mark.parametrize("name", ["LD_PRELOAD", "PATH", "BASH_ENV", "HETUFLOW_AGENT_TOKEN", "ld_preload"])
def test_every_door_refuses_it(name):
    root = people.session_of(people.person(superuser=True))
    job = factories.job()
    task = factories.task(job=job)
    body = {"environment": {name: "/tmp/x.so"}}
    before = fingerprint()
    for method, path, more in (
        ("post", "jobs", {"name": "new", "config": {"cmd": "bash"}}),
        ("post", "jobs/create", {"name": "new", "config": {"cmd": "bash"}}),
        ("patch", f"jobs/{job.pk}", {}),
        ("post", f"jobs/{job.pk}/update", {}),
        ("post", f"jobs/{job.pk}/trigger", {}),
        ("post", "tasks", {"job_id": job.pk}),
        ("post", "tasks/create", {"job_id": job.pk}),
        ("patch", f"tasks/{task.pk}", {}),
        ("post", f"tasks/{task.pk}/update", {}),
    ):
        answer = getattr(root, method)(f"/api/v1/{path}", {**more, **body})
        assert answer.status_code == 400, path
        assert [error["attr"] for error in answer.json()["errors"]] == ["environment"]
        assert "HETUFLOW_ALLOWED_ENVIRONMENT" in answer.json()["errors"][0]["detail"]
    assert fingerprint() == before


def test_who_runs_the_server_may_allow_a_name(settings):
    settings.HETUFLOW_ALLOWED_ENVIRONMENT = ["PYTHONPATH"]
    root = people.session_of(people.person(superuser=True))
    body = {"name": "n", "config": {"cmd": "bash"}, "environment": {"PYTHONPATH": "/opt/app"}}
    assert root.post("/api/v1/jobs", body).status_code == 201
    assert root.post(f"/api/v1/jobs/{Job.objects.get().pk}/trigger", {}).status_code == 201
    assert Task.objects.get().environment == {"PYTHONPATH": "/opt/app"}
    other = {**body, "name": "m", "environment": {"PYTHONHOME": "/opt"}}
    assert root.post("/api/v1/jobs", other).status_code == 400
