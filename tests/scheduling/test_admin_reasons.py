"""Stored reasons, said in the language of the reader."""

import re
from pathlib import Path

import pytest
from django.urls import reverse
from django.utils import timezone, translation

from gateway.dispatch import TOO_LARGE_MESSAGE
from scheduling import judging
from scheduling.admin.reasons import reason_words
from scheduling.models import Alert
from scheduling.services import backfilling, statements
from scheduling.services.alerts import raise_for_missed
from scheduling.services.lifecycle import LOST_MESSAGE
from tests import factories
from tests.admin_client import client_of
from tests.factories import NOW
from tests.processes import ROOT


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("the job was disabled", "作业当时已停用"),
        ("will be skipped: the namespace is frozen: release", "将跳过：命名空间已冻结：release"),
        ("moved: work: Founders' Day", "已改期：work: Founders' Day"),
        ("outside the allowed times of work", "不在日历允许的时段内：work"),
        (
            "more than 100000 instants up to 2026-03-02T12:00:00Z lie before the catch-up window",
            "截至 2026-03-02 12:00:00 UTC 的 100000+ 个时刻早于补跑时限",
        ),
        ("cancelled by ann", "由 ann 取消"),
        ("paused after 3 failures in a row", "连续失败 3 次后暂停"),
        ("waits: the namespace is frozen", "等待：命名空间已冻结"),
        ("Backfill #7: paused because a run failed", "回填 #7：因一次运行失败而暂停"),
        ("The schedule was paused after 3 failures in a row", "计划：连续失败 3 次后暂停"),
        ("timed out after 5 s", "5 秒后超时"),
        ("what somebody wrote: 100 %(rest)s", "what somebody wrote: 100 %(rest)s"),
        ("", ""),
    ],
)
def test_a_reason_is_said_in_chinese_and_stays_as_it_is_in_english(reason, expected):
    with translation.override("zh-hans"):
        assert reason_words(reason) == expected
    with translation.override("en"):
        assert reason_words(reason).replace("2026-03-02 12:00:00 UTC", "2026-03-02T12:00:00Z") == reason


def test_an_instant_in_a_reason_is_told_in_the_zone_of_the_reader():
    with timezone.override("Asia/Shanghai"):
        told = reason_words("3 planned runs were missed, the first one at 2026-03-02T12:00:00Z")
    instant = "2026-03-02 20:00:00 Asia/Shanghai, 2026-03-02 12:00:00 UTC"
    assert told == f"3 planned runs were missed, the first one at {instant}"


def known(texts):
    with translation.override("zh-hans"):
        return [reason for reason in texts if reason_words(reason) == reason] == []


def test_every_reason_of_the_judge_is_known():
    source = Path(judging.__file__).read_text()
    said = re.findall(r'"((?:the job was|no scheduler|several were)[^"]*)"', source)
    assert len(said) >= 4
    assert known(said)


def test_every_reason_that_statements_and_backfills_write_is_known():
    found = re.findall(r"reason = '([^']+)'", Path(statements.__file__).read_text())
    found += re.findall(r'"((?:waits|paused)[^"{]*[a-z])"', Path(backfilling.__file__).read_text())
    assert len(found) >= 5
    assert known([*found, LOST_MESSAGE, TOO_LARGE_MESSAGE])


def test_every_reason_of_an_agent_is_known():
    daemon = Path(ROOT) / "agents/daemon"
    stopped = re.findall(r'self\.stop\("\w+", f?"([^"]+)"', (daemon / "lifetime.py").read_text())
    declined = re.findall(r'spooling\.declined\(task, "([^"]+)"', (daemon / "supervisor.py").read_text())
    assert len(stopped) >= 3
    assert len(declined) >= 2
    assert known([*stopped, *declined])


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("language", "told"),
    [
        ("en", "2 planned runs were missed, the first one at 2026-03-02 20:00:00 Asia/Shanghai"),
        (
            "zh-hans",
            "错过了 2 次计划运行，第一次在 2026-03-02 20:00:00 Asia/Shanghai",
        ),
    ],
)
def test_an_alert_is_told_in_the_language_and_zone_of_its_reader_and_by_rest_as_it_was(language, told):
    schedule = factories.schedule()
    missed = [(schedule.pk, "missed", NOW, 2)]
    raise_for_missed(schedules=[schedule], missed=missed)
    alert = Alert.objects.get()
    browser = client_of(superuser=True)
    browser.post(reverse("admin:preferences"), {"language": language, "time_zone": "Asia/Shanghai"})
    page = browser.get(reverse("admin:scheduling_alert_change", args=[alert.pk])).content.decode()
    assert told in page
    rest = browser.get(f"/api/v1/alerts/{alert.pk}", headers={"accept": "application/json"}).json()
    assert rest["text"] == "2 planned runs were missed, the first one at 2026-03-02T12:00:00Z"
