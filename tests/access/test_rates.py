"""How often one may try a password, and ask by REST."""

import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection

import pytest
from django.contrib.auth.hashers import PBKDF2PasswordHasher
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from access import tokens
from access.addresses import read_networks
from access.models import Throttle
from tests import people, processes
from tests.database import fingerprint

LOGIN = reverse("admin:login")
JOBS = "/api/v1/jobs"


class CountingHasher(PBKDF2PasswordHasher):
    """Hashes fast, and counts how often."""

    iterations = 2
    times = 0

    def encode(self, *args, **kwargs):
        type(self).times += 1
        return super().encode(*args, **kwargs)


@pytest.fixture
def staff(db, settings):
    settings.PASSWORD_HASHERS = [f"{__name__}.CountingHasher"]
    User.objects.create_user("known", password="right", is_staff=True)
    User.objects.create_user("asleep", password="right", is_staff=True, is_active=False)
    User.objects.create_user("guest", password="right")
    User.objects.create_user("keyless", is_staff=True)


def log_in(name="known", *, knows_password=False, client=None, **headers):
    values = {"username": name, "password": "right" if knows_password else "wrong"}
    return (client or Client()).post(LOGIN, values, **headers)


def test_the_twenty_first_password_within_a_minute_is_not_looked_at(staff):
    assert {log_in().status_code for _ in range(20)} == {200}
    CountingHasher.times = 0
    refused = log_in(knows_password=True)
    assert refused.status_code == 429
    assert 0 < int(refused["Retry-After"]) <= 60
    assert "passwords were tried too often. Try again in" in refused.content.decode()
    assert CountingHasher.times == 0


def test_the_refusal_is_in_the_readers_language(staff):
    for _ in range(20):
        log_in()
    refused = log_in(headers={"Accept-Language": "zh-hans"})
    assert "尝试密码过于频繁" in refused.content.decode()


def test_another_address_may_still_log_in_and_looking_at_the_page_costs_nothing(staff):
    for _ in range(20):
        log_in()
    assert log_in(knows_password=True, REMOTE_ADDR="10.0.0.9").status_code == 302
    assert Client().get(LOGIN).status_code == 200


def test_a_header_makes_no_other_caller(staff, settings):
    for number in range(20):
        log_in(headers={"X-Forwarded-For": f"1.2.3.{number}"})
    assert log_in(headers={"X-Forwarded-For": "9.9.9.9"}).status_code == 429
    settings.HETUFLOW_TRUSTED_PROXIES = read_networks(["127.0.0.1"])
    assert log_in(headers={"X-Forwarded-For": "9.9.9.9"}).status_code == 200


def test_neighbours_in_a_network_of_ipv6_are_one(staff):
    for number in range(20):
        log_in(REMOTE_ADDR=f"2001:db8::{number:x}")
    assert log_in(REMOTE_ADDR="2001:db8::ffff").status_code == 429
    assert log_in(REMOTE_ADDR="2001:db8:0:1::1").status_code == 200


def test_a_request_without_csrf_token_counts_as_well(staff):
    client = Client(enforce_csrf_checks=True)
    assert {log_in(client=client).status_code for _ in range(20)} == {403}
    assert log_in(client=client).status_code == 429


def test_ones_own_password_is_tried_no_more_often(staff):
    client = Client()
    client.force_login(User.objects.get(username="known"))
    guess = {"old_password": "wrong", "new_password1": "Xk2-lovelace", "new_password2": "Xk2-lovelace"}
    statuses = [client.post(reverse("admin:password_change"), guess).status_code for _ in range(21)]
    assert statuses == [200] * 20 + [429]
    assert client.get(reverse("admin:index")).status_code == 200


def test_the_rate_is_a_setting(staff, settings):
    settings.HETUFLOW_LOGIN_RATE = 2
    assert [log_in().status_code for _ in range(3)] == [200, 200, 429]
    settings.HETUFLOW_LOGIN_RATE = 0
    assert log_in().status_code == 200


@pytest.mark.parametrize("name", ["known", "asleep", "guest", "keyless"])
def test_a_name_that_exists_is_refused_like_one_that_does_not(staff, name):
    """In status, page and work: only a right password tells that there is such a name."""
    seen = []
    for each in (name, "nobody"):
        CountingHasher.times = 0
        answer = log_in(each)
        page = re.sub(r'name="csrfmiddlewaretoken" value="\w+"', "", answer.content.decode())
        seen.append((answer.status_code, page.replace(f'value="{each}"', ""), CountingHasher.times))
    assert seen[0] == seen[1]
    assert seen[0][2] == 1


def test_callers_of_rest_are_limited_where_that_is_set(db, settings):
    settings.HETUFLOW_API_RATE = 3
    ann = people.person(superuser=True)
    client = people.token_of(ann)
    answers = [client.get(JOBS) for _ in range(5)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429]
    assert answers[3].json()["type"] == "client_error"
    assert [(error["code"], error["attr"]) for error in answers[3].json()["errors"]] == [("throttled", None)]
    assert 0 < int(answers[3]["Retry-After"]) <= 60
    for other in (people.token_of(ann), people.session_of(ann), people.session_of(people.person())):
        assert other.get("/api/v1/whoami").status_code == 200


def test_who_is_not_known_counts_by_address(db, settings):
    settings.HETUFLOW_API_RATE = 1
    client = people.anonymous()
    assert [client.get("/api/schema").status_code for _ in range(2)] == [200, 429]
    assert client.get("/api/schema", REMOTE_ADDR="10.0.0.9").status_code == 200


def test_health_is_told_however_often_it_is_asked_for(db, settings):
    settings.HETUFLOW_API_RATE = 1
    client = people.token_of(people.person(superuser=True))
    assert {client.get("/api/v1/health?details=true").status_code for _ in range(3)} == {200}


def test_without_a_limit_nothing_is_written(db):
    client = people.token_of(people.person(superuser=True))
    before = fingerprint()
    client.get(JOBS)
    assert fingerprint() == before
    assert not Throttle.objects.exists()


def test_a_network_that_is_none_is_named_at_the_start():
    said = processes.only_line(processes.run_manage("check", HETUFLOW_TRUSTED_PROXIES="10.0.0.0/8,proxy"))
    assert "HETUFLOW_TRUSTED_PROXIES" in said
    assert "'proxy'" in said


@pytest.mark.django_db(transaction=True)
def test_two_servers_count_together_exactly():
    _stored, secret = tokens.issue(user=people.person(superuser=True), name="t")
    headers = {"Authorization": f"Bearer {secret}"}
    with processes.server(HETUFLOW_API_RATE="30") as one, processes.server(HETUFLOW_API_RATE="30") as two:

        def ask(number):
            port = (one, two)[number % 2]
            peer = HTTPConnection("127.0.0.1", port, timeout=30)
            with closing(peer):
                peer.request("GET", JOBS, headers=headers)
                return peer.getresponse().status

        with ThreadPoolExecutor(12) as pool:
            statuses = list(pool.map(ask, range(80)))
    assert sorted(set(statuses)) == [200, 429]
    assert statuses.count(200) == 30
