"""REST of what is to come."""

from datetime import timedelta

import pytest

from access.roles import Role
from scheduling.services import forecast
from tests import factories, people
from tests.factories import NOW

pytestmark = pytest.mark.django_db
URL = "/api/v1/forecast"


@pytest.fixture(autouse=True)
def _at_a_fixed_time(monkeypatch):
    """Let nothing be remembered, and let it be ten past twelve: how many hours lie ahead depends on it."""
    monkeypatch.setattr(forecast, "FRESH_SECS", -1.0)
    monkeypatch.setattr("scheduling.api.forecasts.database_now", lambda: NOW + timedelta(minutes=10))


def hourly(namespace="default"):
    job = factories.job(namespace=namespace)
    return factories.schedule(job=job, kind="cron", cron_expression="0 * * * *")


def test_it_tells_what_will_run_by_bucket_and_job(api):
    factories.agent(slots=3)
    schedule = hourly()
    answer = api.get(URL)
    assert answer.status_code == 200
    found = answer.json()
    assert (found["bucket_secs"], found["slots"], found["schedules"], found["is_complete"]) == (
        900,
        3,
        1,
        True,
    )
    assert found["totals"] == {"runs": 24, "skipped_calendar": 0, "skipped_overlap": 0, "without_agent": 0}
    assert len(found["buckets"]) == len(found["jobs"][0]["runs"]) == 97
    assert sum(bucket["runs"] for bucket in found["buckets"]) == 24
    assert found["jobs"][0]["name"] == schedule.job.name


@pytest.mark.parametrize(("hours", "size", "buckets"), [(1, 900, 5), (48, 900, 193), (168, 3600, 169)])
def test_one_says_how_many_hours(api, hours, size, buckets):
    found = api.get(f"{URL}?hours={hours}").json()
    assert (found["bucket_secs"], len(found["buckets"])) == (size, buckets)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("hours=0", "hours"),
        ("hours=169", "hours"),
        ("hours=1e3", "hours"),
        ("hours=", "hours"),
        ("namespace=", "namespace"),
        ("namespace=%00", "namespace"),
        ("days=1", "days"),
    ],
)
def test_a_bad_question_is_a_400_that_names_it(api, query, field):
    answer = api.get(f"{URL}?{query}")
    assert (answer.status_code, [error["attr"] for error in answer.json()["errors"]]) == (400, [field])


def test_one_sees_what_is_to_come_in_ones_own_namespaces():
    hourly("here")
    hourly("there")
    client = people.session_of(people.with_role(Role.VIEWER, "here"))
    assert client.get(URL).json()["totals"]["runs"] == 24
    assert client.get(f"{URL}?namespace=here").json()["totals"]["runs"] == 24
    hidden = client.get(f"{URL}?namespace=there").json()
    assert (hidden["totals"]["runs"], hidden["jobs"], hidden["schedules"]) == (0, [], 0)


def test_it_is_made_once_for_all_who_look_within_half_a_minute(api, monkeypatch):
    monkeypatch.setattr(forecast, "FRESH_SECS", 60.0)
    made = []
    monkeypatch.setattr(forecast, "forecast", lambda **asked: made.append(asked) or _real(**asked))
    for hours in (3, 3, 4):
        api.get(f"{URL}?hours={hours}")
    assert [asked["hours"] for asked in made] == [3, 4]


_real = forecast.forecast
