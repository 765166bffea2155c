"""What a production server refuses to start with, as an operator sees it."""

import re
import secrets
from http.client import HTTPConnection

import pytest
from django.core.exceptions import ImproperlyConfigured

from hetuflow.production import refuse_unsafe_settings
from hetuflow.response_headers import DATA_POLICY
from tests.processes import (
    ROOT,
    database_url,
    free_port,
    manage_program,
    only_line,
    run_manage,
    server,
    wait_for_http,
)

RANDOM = "mX3q0Vw-7tRk1bZy_9LsHc2NfJ8uPdGa5EoTiQ4rK6xWvB-CjSYlzhMn0pDgAeU7"
GOOD = {
    "HETUFLOW_ENV": "production",
    "HETUFLOW_SECRET_KEY": RANDOM,
    "HETUFLOW_ALLOWED_HOSTS": "hetuflow.example.com",
    "HETUFLOW_HTTPS": "true",
    "HETUFLOW_DEBUG": "false",
}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HETUFLOW_DEBUG", "true"),
        ("HETUFLOW_SECRET_KEY", ""),
        ("HETUFLOW_SECRET_KEY", "django-insecure-3kx9!a0v@w2m#c7$e5r%t8y^u1i&o4p*q6z"),
        ("HETUFLOW_ALLOWED_HOSTS", "*"),
        ("HETUFLOW_ALLOWED_HOSTS", "hetuflow.example.com, *"),
        ("HETUFLOW_ALLOWED_HOSTS", " , "),
        ("HETUFLOW_ENV", "prod"),
    ],
)
def test_a_server_with_an_unsafe_setting_ends_at_once_and_names_it(name, value):
    done = run_manage("server", "--port", str(free_port()), **{**GOOD, name: value})
    assert name in only_line(done)
    assert not value.startswith("django-") or value not in done.stderr


def _refuse(**settings):
    good = {"debug": False, "secret_key": RANDOM, "allowed_hosts": ["h.example.com"]}
    refuse_unsafe_settings(**{**good, **settings})


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("", "missing"),
        ("Zk3", "too short"),
        (RANDOM[:31], "too short"),
        ("(at least 32 random characters: openssl rand -base64 48)", "an example"),
        ("django-insecure-" + RANDOM, "an example"),
        ("changeme-changeme-changeme-changeme", "an example"),
        ("CHANGE_ME_" + RANDOM, "an example"),
        ("your-secret-key-goes-in-this-place-1", "an example"),
        ("a" * 64, "not random"),
        ("abcabcd" * 8, "not random"),
        ("0123456789abcdef" * 4, "not random"),
        ("abcdefghijklmnopqrstuvwxyz0123456789", "not random"),
    ],
)
def test_a_key_that_others_may_know_or_guess_is_refused(key, reason):
    with pytest.raises(ImproperlyConfigured, match=f"HETUFLOW_SECRET_KEY is {reason}"):
        _refuse(secret_key=key)


@pytest.mark.parametrize("make", [secrets.token_hex, secrets.token_urlsafe])
def test_random_keys_are_taken(make):
    for _ in range(200):
        _refuse(secret_key=make(32))


def test_a_pattern_among_the_hosts_is_refused_and_a_domain_with_all_below_it_is_not():
    _refuse(allowed_hosts=[".example.com"])
    for hosts in (["*.example.com"], ["a.example.com", "*"], []):
        with pytest.raises(ImproperlyConfigured, match="HETUFLOW_ALLOWED_HOSTS"):
            _refuse(allowed_hosts=hosts)


def test_the_key_in_our_own_documentation_is_refused():
    text = (ROOT / "docs" / "operations.md").read_text()
    (key,) = re.findall(r"^HETUFLOW_SECRET_KEY=(.*)$", text, re.MULTILINE)
    with pytest.raises(ImproperlyConfigured, match="an example"):
        _refuse(secret_key=key)


@pytest.mark.django_db(transaction=True)
def test_djangos_own_checks_find_nothing_in_production():
    done = run_manage("check", "--deploy", "--fail-level", "WARNING", **GOOD, DATABASE_URL=database_url())
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.django_db(transaction=True)
def test_behind_https_cookies_are_secure_and_browsers_keep_to_it():
    with server(**GOOD) as port:
        browser = HTTPConnection("127.0.0.1", port, timeout=10)
        proxied = {"Host": "hetuflow.example.com", "X-Forwarded-Proto": "https"}
        browser.request("GET", "/admin/login/", headers=proxied)
        told = browser.getresponse().headers
        browser.close()
    assert told["Strict-Transport-Security"] == "max-age=31536000"
    assert "Secure" in told["Set-Cookie"]
    assert told["Content-Security-Policy"].startswith("default-src 'self'; script-src 'self';")


@pytest.mark.django_db(transaction=True)
def test_a_request_that_never_came_to_django_is_refused_in_plain_text():
    with server(**GOOD) as port:
        browser = HTTPConnection("127.0.0.1", port, timeout=10)
        browser.putrequest("GET", "/?<script>")
        browser.putheader("X-Odd", b"\x0b<script>")
        browser.endheaders()
        answer = browser.getresponse()
        text = answer.read().decode()
        browser.close()
    assert (answer.status, text) == (400, "400 Bad Request: Invalid header value\n")
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert answer.headers["Content-Security-Policy"] == DATA_POLICY


@pytest.mark.django_db(transaction=True)
def test_production_without_https_starts_and_warns(tmp_path):
    log = tmp_path / "log"
    port = free_port()
    program = manage_program("server", "--port", str(port), log=log, **{**GOOD, "HETUFLOW_HTTPS": "false"})
    program.start()
    wait_for_http(port, still=lambda: program.is_running)
    is_running = program.is_running
    program.stop()
    assert is_running
    assert "hetuflow: HETUFLOW_HTTPS is off" in log.read_text()
