"""Every string of models and admin exists in Chinese, and the compiled catalogue is the one of the sources.

To bring them up to date: `manage.py makemessages -l zh_Hans -i .venv -i tests --no-obsolete
--add-location=file`, translate what is empty in the .po file, `manage.py compilemessages`. It does not find
the docstrings of errors, which are the messages of these.
"""

import ast
import gettext
import re
from pathlib import Path

import pytest
from django.urls import reverse
from django.utils.translation.template import templatize

import access.errors
import agents.errors
import scheduling.errors
from tests.admin_client import client_of

ROOT = Path(__file__).resolve().parents[2]
CATALOGUE = ROOT / "hetuflow/locale/zh_Hans/LC_MESSAGES/django.po"
FUNCTIONS = {"_", "gettext", "gettext_lazy", "gettext_noop", "ngettext", "ngettext_lazy"}
TEXT = r"u?('(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\")"
CALL_IN_TEMPLATE = re.compile(rf"\b(?:_|n?gettext)\(\s*{TEXT}(?:,\s*{TEXT})?")
# Messages of REST are for programs and their authors.
SOURCES = [
    path
    for package in ("access", "agents", "gateway", "hetuflow", "scheduling")
    for path in (ROOT / package).rglob("*.py")
    if "api" not in path.relative_to(ROOT).with_suffix("").parts
]


def texts_of_python(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in FUNCTIONS:
            yield from (
                argument.value
                for argument in node.args[: 2 if "ngettext" in node.func.id else 1]
                if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
            )


def texts_of_template(path):
    for found in CALL_IN_TEMPLATE.finditer(templatize(path.read_text())):
        yield from (ast.literal_eval(text) for text in found.groups() if text)


def messages_of_errors():
    """Yield the docstrings of the errors that say no more than these."""
    for module in (access.errors, agents.errors, scheduling.errors):
        for kind in vars(module).values():
            if isinstance(kind, type) and kind.__module__ == module.__name__ and "__init__" not in vars(kind):
                yield kind.__doc__.strip()


def marked_texts():
    texts = {text for path in SOURCES for text in texts_of_python(path)} | {*messages_of_errors()}
    return texts | {
        text.replace("%%", "%")
        for path in (ROOT / "templates").rglob("*.html")
        for text in texts_of_template(path)
    }


def read_catalogue(path):
    """Return (msgid, msgid_plural, translations, is fuzzy) of every entry of a .po file."""
    entries = []
    for block in re.split(r'\n\n|(?<=")\n(?=#)', path.read_text()):
        fields, current = {}, None
        for line in block.splitlines():
            if found := re.match(r"(msgid|msgid_plural|msgstr(?:\[\d\])?) (\".*\")\Z", line):
                current = found[1]
                fields[current] = ast.literal_eval(found[2])
            elif line.startswith('"'):
                fields[current] += ast.literal_eval(line)
        if "msgid" in fields:
            translations = [text for name, text in fields.items() if name.startswith("msgstr")]
            is_fuzzy = any(line.startswith("#,") and "fuzzy" in line for line in block.splitlines())
            entries.append((fields["msgid"], fields.get("msgid_plural"), translations, is_fuzzy))
    return entries


def test_every_marked_text_has_a_chinese_translation():
    translated = {
        text
        for msgid, plural, translations, is_fuzzy in read_catalogue(CATALOGUE)
        if all(translations) and not is_fuzzy
        for text in (msgid, plural)
    }
    texts = marked_texts()
    assert len(texts) > 300, "the sources were not read"
    assert texts - translated == set()


def test_the_compiled_catalogue_is_the_one_of_the_source():
    with CATALOGUE.with_suffix(".mo").open("rb") as file:
        compiled = gettext.GNUTranslations(file)
    for msgid, plural, translations, _is_fuzzy in read_catalogue(CATALOGUE):
        if plural:
            assert compiled.ngettext(msgid, plural, 2) == translations[0]
        elif msgid:
            assert compiled.gettext(msgid) == translations[0]


def test_placeholders_survive_translation():
    for msgid, plural, translations, _is_fuzzy in read_catalogue(CATALOGUE):
        for translation in translations if msgid else []:
            names = re.findall(r"%\(\w+\)[sd]|\{\w*\}", plural or msgid)
            assert sorted(names) == sorted(re.findall(r"%\(\w+\)[sd]|\{\w*\}", translation)), msgid


@pytest.mark.django_db
def test_the_language_can_be_switched_from_the_admin():
    browser = client_of(superuser=True)
    index = reverse("admin:index")
    assert b"Agents online" in browser.get(index).content
    assert f'action="{reverse("admin:preferences")}"'.encode() in browser.get(index).content
    browser.post(reverse("admin:preferences"), {"language": "zh-hans"})
    assert "在线代理" in browser.get(index).content.decode()


@pytest.mark.django_db
@pytest.mark.parametrize("name", ["job", "schedule", "task", "taskinstance"])
def test_every_list_opens_in_chinese(name):
    url = reverse(f"admin:scheduling_{name}_changelist")
    response = client_of(superuser=True).get(url, headers={"accept-language": "zh-hans"})
    assert response.status_code == 200
    assert 'lang="zh-hans"' in response.content.decode()


@pytest.mark.django_db
def test_the_form_of_a_job_is_in_the_language_of_its_reader():
    browser = client_of(superuser=True)
    url = reverse("admin:scheduling_job_add")
    assert "Timeout in seconds" in browser.get(url).content.decode()
    chinese = browser.get(url, headers={"accept-language": "zh-hans"}).content.decode()
    assert "超时（秒）" in chinese
    assert "Timeout in seconds" not in chinese
