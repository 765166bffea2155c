"""Scripts show no words of their own: what they say comes with the page, in the language of its reader."""

import html
import json
import re
from pathlib import Path

import pytest
from django.urls import reverse

from tests import factories
from tests.admin_client import client_of
from tests.processes import ROOT

OURS = [Path(ROOT) / "hetuflow/static/hetuflow", Path(ROOT) / "rest/static/rest"]
SCRIPTS = {str(path.relative_to(root)): path for root in OURS for path in root.rglob("*.js")}
TOKEN = re.compile(
    r"//[^\n]*|/\*.*?\*/"
    r"|(?P<text>\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'|`(?:\\.|[^`\\])*`)",
    re.S,
)
# What nobody sees: for the console, or for the code that catches it.
UNSEEN = re.compile(r"(?:console\.\w+|new Error)\(\s*\Z")
CODE = re.compile(r"[#=<>(){}\[\]$&|*\\@;/]|--|\w-\w|\w\.\w|\w:\w|\A\.")
SENTENCE = re.compile(r"\A[A-Z][a-z]+(?:[ .,!?…]|\Z)|[a-z]{2,} [a-z]{2,}|[a-z]{3,} ?(?:…|\.\.\.)")
# Names of keys, events, headers and the like.
NAMES = {"Enter", "Escape", "Tab", "Shift", "Home", "End", "Accept", "use strict"}
# The pages for trying REST are English, as REST is.
ENGLISH = {"The server does not answer: "}


def texts_of(source):
    """Yield the literals of a script that somebody could see, without what is put into them."""
    for found in TOKEN.finditer(source):
        text = found["text"]
        if text and not UNSEEN.search(source[: found.start()]):
            yield re.sub(r"\$\{[^}]*\}", "", text[1:-1])


def english_in(source):
    return [
        text
        for text in texts_of(source)
        if SENTENCE.search(text) and not CODE.search(text) and text not in NAMES | ENGLISH
    ]


def test_no_script_has_words_of_its_own():
    assert len(SCRIPTS) > 25
    found = {name: words for name, path in SCRIPTS.items() if (words := english_in(path.read_text()))}
    assert found == {}


@pytest.mark.parametrize(
    "line",
    [
        'button.textContent = "Copied";',
        "said.textContent = `${n} new lines`;",
        "note.append('reconnecting …');",
        'say("The server is away.");',
        "link.title = `Open ${name}`;",
    ],
)
def test_words_of_a_script_are_found(line):
    assert english_in(line) != []


@pytest.mark.parametrize(
    "line",
    [
        '"use strict"; // Copies the text of an element',
        'console.warn("Hetuflow: this page cannot be renewed", error);',
        "throw new Error(`status ${response.status}`);",
        'element("div", "hf-row hf-row-stderr");',
        'if (event.key === "Enter") { root.querySelector("td[data-label] :is(input, select)"); }',
    ],
)
def test_what_nobody_reads_is_none_of_them(line):
    assert english_in(line) == []


def keys(pattern, *names):
    return {key for name in names for key in re.findall(pattern, SCRIPTS[name].read_text())}


def page_of(browser, url, language):
    return browser.get(url, headers={"accept-language": language}).content.decode()


def texts_of_reach(browser, language):
    page = page_of(browser, reverse("admin:index"), language)
    (tag,) = re.findall(r'<template id="hf-texts"([^>]*)>', page)
    return {name: html.unescape(text) for name, text in re.findall(r'data-(\w+)="([^"]*)"', tag)}


def texts_of_the_output(browser, language):
    url = reverse("admin:scheduling_taskinstance_change", args=[factories.attempt().pk])
    (found,) = re.findall(r'data-texts="([^"]*)"', page_of(browser, url, language))
    return json.loads(html.unescape(found))


def texts_of_the_timeline(browser, language):
    page = page_of(browser, reverse("admin:scheduling_taskinstance_timeline"), language)
    (found,) = re.findall(r'<script id="hf-timeline-config"[^>]*>(.*?)</script>', page, re.S)
    return json.loads(found)["words"]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("asked", "texts"),
    [
        (keys(r"\btexts\.(\w+)", "reach.js") | keys(r'(?m)^ +\w+: "(\w+)",$', "reach.js"), texts_of_reach),
        (keys(r"\btexts\.(\w+)", *(n for n in SCRIPTS if n.startswith("output/"))), texts_of_the_output),
        (keys(r"\bwords\.(\w+)", *(n for n in SCRIPTS if n.startswith("timeline/"))), texts_of_the_timeline),
    ],
    ids=["reach", "output", "timeline"],
)
def test_what_scripts_ask_for_comes_with_the_page_in_each_language(asked, texts):
    browser = client_of(superuser=True)
    english, chinese = (texts(browser, language) for language in ("en", "zh-hans"))
    assert len(asked) > 3
    assert asked - {name for name, text in english.items() if text} == set()
    assert {name for name in asked if english[name] == chinese.get(name, english[name])} == set()


def test_what_scripts_ask_elements_for_is_in_a_template():
    asked = keys(r"dataset\.(copied|failed|lost|confirm|due|editorHint)\b", *SCRIPTS)
    assert {"copied", "failed", "lost", "confirm", "due", "editorHint"} <= asked
    sources = [
        *(Path(ROOT) / "templates").rglob("*.html"),
        *(Path(ROOT) / "scheduling/admin").rglob("*.py"),
    ]
    given = "".join(path.read_text() for path in sources)
    for key in asked:
        name = "data-" + re.sub(r"[A-Z]", lambda found: "-" + found[0].lower(), key)
        assert re.search(rf'{name}"?[=:]', given), name
