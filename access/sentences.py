"""What is said to people: in the language of whoever reads it, at the moment when it is read."""

import re
from collections.abc import Iterable
from functools import cache

from django.conf import settings
from django.utils import translation
from django.utils.functional import lazy
from django.utils.translation import gettext


def _said(message: str, /, **facts: object) -> str:
    return gettext(message) % facts if facts else gettext(message)


# A message of the catalogue with named places for facts, which may be such sentences themselves. Import it as
# `_`, so that its messages are found as those of gettext are.
said = lazy(_said, str)


def recognised(text: str, messages: Iterable[str]) -> str:
    """Return an English text as the sentence of the first message that makes it, else as it stands.

    A fact called `rest` is a text of these messages again.
    """
    messages = tuple(messages)
    for message in messages:
        if found := _pattern(message).fullmatch(text):
            facts = {
                name: recognised(fact, messages) if name == "rest" else fact
                for name, fact in found.groupdict().items()
            }
            return said(message, **facts)
    return text


def in_each_language(sentence: object) -> dict[str, str]:
    """Return a sentence in all languages that readers may choose, for what is stored before it is read."""
    told = {}
    for language, _name in settings.LANGUAGES:
        with translation.override(language):
            told[language] = str(sentence)
    return told


@cache
def _pattern(message: str) -> re.Pattern[str]:
    """Return what a message looks like with any facts in its places."""
    pieces = re.split(r"%\((\w+)\)s", message)
    texts = [re.escape(text.replace("%%", "%")) for text in pieces[::2]]
    places = [f"(?P<{name}>.*)" for name in pieces[1::2]]
    return re.compile("".join(part for pair in zip(texts, [*places, ""], strict=True) for part in pair), re.S)
