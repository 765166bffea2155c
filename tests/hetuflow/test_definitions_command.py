"""Definitions are written and read on the command line: all of a file, or nothing of it."""

import io
import os
import re
import subprocess
import sys

import pytest
from django.core.management import CommandError, call_command

from access.models import AuditEntry
from scheduling.models import Job, Schedule
from tests import factories
from tests.processes import ROOT, database_url

FILE = """hetuflow: 1
calendars:
- {name: office}
jobs:
- {name: a, config: {cmd: sh}, schedules: [{kind: interval, interval_secs: 60, calendar: office}]}
"""


@pytest.fixture
def file(tmp_path):
    file = tmp_path / "jobs.yaml"
    file.write_text(FILE)
    return file


def say(*arguments):
    out = io.StringIO()
    call_command("definitions", *map(str, arguments), stdout=out)
    return out.getvalue()


@pytest.mark.django_db
def test_a_file_is_checked_imported_and_exported(file):
    expected = "create calendar default/office\ncreate job default/a\n"
    assert say("import", file, "--check") == expected
    assert not Job.objects.exists()
    assert say("import", file) == expected
    assert say("import", file) == expected.replace("create", "keep")
    assert {entry.actor_kind for entry in AuditEntry.objects.all()} == {"command"}
    factories.job(name="other", namespace="other")
    assert "name: other" in say("export")
    assert "name: other" not in say("export", "--namespace", "default")
    file.write_text(say("export"))
    assert set(say("import", file).split()[::3]) == {"keep"}


@pytest.mark.django_db
def test_where_one_entry_is_refused_nothing_is_changed(file, capsys):
    file.write_text(FILE + "- {name: b, config: {cmd: cobol}}\n")
    out = io.StringIO()
    with pytest.raises(CommandError, match="1 of 3 were refused; nothing was changed"):
        call_command("definitions", "import", str(file), stdout=out)
    assert "refused job default/b: config.cmd: 'cobol' is unknown" in out.getvalue()
    assert not Job.objects.exists()


@pytest.mark.parametrize(
    ("text", "problem"),
    [(None, "No such file or directory"), ("hetuflow: 2", "is not known here; expected 1")],
)
def test_what_is_no_file_is_told(tmp_path, text, problem):
    file = tmp_path / "x.yaml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(CommandError, match=problem):
        call_command("definitions", "import", str(file))


@pytest.mark.django_db(transaction=True)
def test_the_example_and_the_commands_of_the_page_work_as_printed(tmp_path):
    page = (ROOT / "docs" / "definitions.md").read_text()
    (example,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    (script,) = re.findall(r"<!-- tested -->\n```sh\n(.*?)```", page, re.DOTALL)
    (tmp_path / "example.yaml").write_text(example)
    assert say("import", tmp_path / "example.yaml").startswith("create calendar default/office")
    assert Schedule.objects.count() == 2
    script = script.replace(".venv/bin/python", f"{sys.executable} -W ignore")
    done = subprocess.run(
        [
            "bash",
            "-euo",
            "pipefail",
            "-c",
            script.replace("definitions.yaml", f"{tmp_path}/definitions.yaml"),
        ],
        cwd=ROOT,
        env={**os.environ, "DATABASE_URL": database_url()},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert set(done.stdout.split()[::3]) == {"keep"}
    assert Job.objects.get().name == "backup"
