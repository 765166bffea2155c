"""What a browser would run or load because of a page, for tests."""

import json
import re
from functools import cache
from html.parser import HTMLParser
from pathlib import Path

ADAPTER = Path(__file__).resolve().parent.parent / "hetuflow/static/hetuflow/alpine.js"
# Scripts of these types are data, which no browser runs.
DATA_TYPES = {"application/json"}
ADDRESSES = {"action", "data", "formaction", "href", "poster", "src", "xlink:href"}
LOADED = {"audio", "embed", "iframe", "img", "input", "link", "script", "source", "track", "video"}
# What Alpine's build without eval does not read: other operators, statements, and names of the window.
NOT_ALPINE = re.compile(
    r"`|=>|\?\.|\?\?|\.\.\.|;|[-+*/%]=|\b(?:if|for|while|return|function|const|let|var|new|typeof|delete|in)\b"
    r"|(?<![.$\w])(?:document|console|JSON|Math|Object|Array|Number|String|fetch|alert|set(?:Timeout|Interval)"
    r"|getComputedStyle|django|Alpine)\b"
)
TEXT = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"")
NOT_EXPRESSIONS = re.compile(r"x-(?:for|ref|cloak|ignore|id|teleport|transition)\b")


class _Page(HTMLParser):
    def __init__(self):
        super().__init__()
        self.scripts, self.findings, self.expressions = [], [], []
        self._is_in_script = False

    def handle_starttag(self, tag, attrs):
        attributes = {name: value or "" for name, value in attrs}
        if tag in {"base", "object", "embed"}:
            self.findings.append(f"<{tag}>")
        if tag == "script" and "src" not in attributes:
            self._is_in_script = attributes.get("type") not in DATA_TYPES
        for name, value in attributes.items():
            self._look_at(tag, name, value.strip())

    def handle_endtag(self, tag):
        if tag == "script":
            self._is_in_script = False

    def handle_data(self, data):
        if self._is_in_script and data.strip():
            self.findings.append(f"<script>{data.strip()[:60]}")

    def _look_at(self, tag, name, value):
        is_address = name in ADDRESSES
        is_code = is_address and re.sub(r"\s", "", value.lower()).startswith(("javascript:", "data:text"))
        is_elsewhere = is_address and tag in LOADED and re.match(r"(?:[a-z]+:)?//", value)
        if name.startswith(("on", "hx-on")) or name == "srcdoc" or is_code or is_elsewhere:
            self.findings.append(f"<{tag} {name}={value}>")
        elif name.startswith("x-") and value and not NOT_EXPRESSIONS.match(name):
            self.expressions.append((name, value))


def findings_of(html):
    """Return what our policy stops of a page: scripts in it, handlers, files from elsewhere, statements."""
    page = _Page()
    page.feed(html)
    page.close()
    unread = [
        f"{name}={value}" for name, value in page.expressions if NOT_ALPINE.search(_as_rewritten(value))
    ]
    return page.findings + unread


def _as_rewritten(expression):
    """Return what the adapter makes of an expression, without the texts in it and the semicolons between."""
    phrases, select = adapter_rules()
    text = select.sub("", re.sub(r"\s+", " ", expression).strip())
    for said, meant in phrases:
        text = text.replace(said, meant)
    return TEXT.sub("''", text).replace(";", " ")


@cache
def adapter_rules():
    """Return the adapter's phrases, and the pattern of the script for selects."""
    source = ADAPTER.read_text()
    body = re.search(r"const PHRASES = \[(.*?)\n  \];", source, re.DOTALL)[1]
    texts = [json.loads(text) for text in re.findall(r'"(?:[^"\\]|\\.)*"', body)]
    pattern = re.search(r"/(\^const .*\$)/;", source)[1]
    return list(zip(texts[::2], texts[1::2], strict=True)), re.compile(pattern)
