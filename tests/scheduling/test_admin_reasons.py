"""Stored reasons, said in the language of the reader."""

import re
from pathlib import Path

import pytest
from django.utils import translation

from scheduling import judging
from scheduling.admin.reasons import reason_words


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("the job was disabled", "作业当时已停用"),
        ("will be skipped: the namespace is frozen: release", "将跳过：命名空间已冻结：release"),
        ("moved: work: Founders' Day", "已改期：work: Founders' Day"),
        ("outside the allowed times of work", "不在日历允许的时段内：work"),
        (
            "more than 100000 instants up to 2026-03-02T12:00:00Z lie before the catch-up window",
            "截至 2026-03-02T12:00:00Z 的 100000+ 个时刻早于补跑时限",
        ),
        ("what somebody wrote: 100 %(rest)s", "what somebody wrote: 100 %(rest)s"),
        ("", ""),
    ],
)
def test_a_reason_is_said_in_chinese_and_stays_as_it_is_in_english(reason, expected):
    with translation.override("zh-hans"):
        assert reason_words(reason) == expected
    with translation.override("en"):
        assert reason_words(reason).replace("100000+", "more than 100000") == reason


def test_every_reason_of_the_judge_is_known():
    source = Path(judging.__file__).read_text()
    said = re.findall(r'"((?:the job was|no scheduler|several were)[^"]*)"', source)
    assert len(said) >= 4
    with translation.override("zh-hans"):
        assert [reason for reason in said if reason_words(reason) == reason] == []
