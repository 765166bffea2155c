"""What /proc shows of a process that was given a secret."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
SHOW = """
import os, sys
from agents.daemon import processes
if os.geteuid() == 0 and "as-nobody" in sys.argv:
    os.setgid(65534)
    os.setuid(65534)
def environ():
    try:
        return open("/proc/self/environ", "rb").read()
    except PermissionError:
        assert os.geteuid() != 0  # with its memory hidden, it belongs to root alone
        return b""
before = open("/proc/self/cmdline", "rb").read()
if "as-nobody" not in sys.argv:
    processes.hide_memory()
processes.hide_secrets(["hfe_first", "hfa_sécret", "xx"])
if "as-nobody" not in sys.argv:
    shown = open("/proc/self/cmdline", "rb").read() + environ()
else:
    shown = open("/proc/self/cmdline", "rb").read()
assert b"hfe_first" in before
assert b"hfe_first" not in shown and "hfa_sécret".encode() not in shown, shown
assert sys.argv[1:3] == ["--enroll", "hfe_first"] and sys.argv[3] == "--again=hfe_first"
assert len(open("/proc/self/cmdline", "rb").read()) == len(before)
assert b"other" in shown
assert os.environ["GIVEN"] == "hfa_sécret"
"""


@pytest.mark.parametrize("who", ["as-we-are", "as-nobody"])
def test_secrets_vanish_from_arguments_and_environment_and_nothing_else_does(who):
    done = subprocess.run(
        [sys.executable, "-c", SHOW, "--enroll", "hfe_first", "--again=hfe_first", "other", who],
        cwd=ROOT,
        env={
            **os.environ,
            "GIVEN": "hfa_sécret",
            "OTHER": "other",
            "ALIKE": "xxx",
            "PYTHONDONTWRITEBYTECODE": "1",
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
