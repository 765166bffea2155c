"""What the documentation says about itself and about the code."""

import os
import re
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from django.contrib.auth.models import User

from access.models import ApiToken, Grant
from agents.models import AgentToken, EnrollmentToken
from tests.processes import ROOT, database_url, server

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
_VARIABLE = re.compile(r"[\"']((?:HETUFLOW_|DATABASE_URL)[A-Z_]*)[\"']")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_within_the_repository_leads_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text())

    assert [target for target in targets if not (page.parent / target).exists()] == []


@pytest.mark.parametrize(
    "module", ["hetuflow/settings.py", "hetuflow/embedded_postgres.py", "agents/daemon/config.py"]
)
def test_every_variable_that_is_read_is_documented(module: str) -> None:
    documented = (ROOT / "docs" / "operations.md").read_text()
    read = set(_VARIABLE.findall((ROOT / module).read_text()))

    assert read
    assert {name for name in read if f"`{name}`" not in documented} == set()


def test_every_documented_variable_of_servers_and_agents_is_read() -> None:
    page = (ROOT / "docs" / "operations.md").read_text()
    tables = page[page.index("## Variables of servers") : page.index("## What a command finds")]
    code = "".join(
        path.read_text() for folder in ("hetuflow", "agents") for path in (ROOT / folder).rglob("*.py")
    )
    named = set(re.findall(r"^\| `([A-Z_]+)`(?:, `([A-Z_]+)`)?", tables, re.MULTILINE))
    names = {name for pair in named for name in pair if name}

    assert len(names) > 20
    assert {name for name in names if not re.search(rf"[\"']{name}[\"']", code)} == set()


def test_both_readmes_walk_the_same_way() -> None:
    english, chinese = (
        re.findall(r"<!-- tested -->\n(.*?)```\n", (ROOT / page).read_text(), re.DOTALL)
        for page in ("README.md", "README.zh.md")
    )

    # Only the name and the words of the example job differ.
    assert len(english) == 4
    assert english[:1] + english[2:] == chinese[:1] + chinese[2:]


@pytest.mark.django_db(transaction=True)
def test_the_commands_of_the_page_on_access_work_as_printed() -> None:
    for name in ("ann", "bob"):
        User.objects.create_user(name)
    blocks = re.findall(
        r"<!-- tested -->\n```sh\n(.*?)```", (ROOT / "docs" / "access.md").read_text(), re.DOTALL
    )
    assert len(blocks) == 4
    script = "".join(blocks).replace(".venv/bin/python", f"{sys.executable} -W ignore")
    with server() as port:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script.replace("127.0.0.1:8000", f"127.0.0.1:{port}")],
            cwd=ROOT,
            env={**os.environ, "DATABASE_URL": database_url()},
            capture_output=True,
            text=True,
            timeout=110,
            check=False,
        )

    assert (done.returncode, done.stderr) == (0, "")
    assert set(Grant.objects.values_list("group__name", "namespace", "role")) == {
        ("night-shift", "*", "viewer"),
        ("fleet", "*", "admin"),
    }
    assert ApiToken.objects.get(name="deployment").namespace == "billing"
    enrolment = EnrollmentToken.objects.get()
    assert (enrolment.name, enrolment.labels) == ("build-7", {"zone": "eu"})
    assert f"-m agents.daemon --server ws://127.0.0.1:{port} --enroll hfe_" in done.stdout
    first, spare, fresh = AgentToken.objects.filter(agent__name="build-8").order_by("pk")
    assert first.revoked_at is not None
    assert spare.expires_at - fresh.created_at == timedelta(minutes=10)
    assert (fresh.name, fresh.revoked_at) == ("spare", None)


def test_every_target_of_the_makefile_says_what_it_does() -> None:
    makefile = (ROOT / "Makefile").read_text()
    phony = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    assert phony is not None
    described = set(re.findall(r"^([a-z-]+):.*## ", makefile, re.MULTILINE))

    assert set(phony[1].split()) == described
