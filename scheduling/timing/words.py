"""Expressions of time in words, English and Chinese: cron's by cron-descriptor, others as they stand."""

import re
from functools import lru_cache
from typing import Final

from cron_descriptor import ExpressionDescriptor, FormatError, Options
from django.utils import translation
from django.utils.dates import MONTHS, WEEKDAYS

from scheduling.timing import cron, expressions
from scheduling.timing.cron import CronPattern
from scheduling.timing.errors import ExpressionError

_LOCALES: Final = {"zh": "zh_CN", "en": "en_US"}


def in_words(text: str, *, language: str = "en", seed: str = "") -> str:
    """Return what a text of expressions says, its lines joined by semicolons; it must be valid."""
    lines = (_line_in_words(line, language[:2], seed) for line in expressions.split(text))
    return "; ".join(lines)


@lru_cache(maxsize=8192)
def _line_in_words(line: str, language: str, seed: str) -> str:
    if expressions.language(line) != "cron":
        return " ".join(line.split())
    try:
        pattern = cron.parse(line, seed)
    except ExpressionError:
        return line
    if not isinstance(pattern, CronPattern):
        return line
    options = Options()
    options.locale_code = _LOCALES.get(language, "en_US")
    options.use_24hour_time_format = True
    try:
        words = str(ExpressionDescriptor(pattern.text, options).get_description()).strip()
    except (FormatError, ValueError, KeyError, IndexError):
        return line
    if options.locale_code == "en_US":
        return words
    with translation.override("zh-hans"):
        return _names().sub(lambda name: translation.gettext(name.group()), words)


@lru_cache(maxsize=1)
def _names() -> re.Pattern[str]:
    """Return the names that cron-descriptor leaves to the machine's locale; Django translates them."""
    with translation.override("en"):
        return re.compile("|".join(str(name) for name in (*WEEKDAYS.values(), *MONTHS.values())))
