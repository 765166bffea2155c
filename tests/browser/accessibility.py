"""What axe-core finds of the Web Content Accessibility Guidelines 2.2, level AA, in a page.

`vendor/axe-core` is `npm pack axe-core@4.14.1`: `axe.min.js` and its licences.
"""

from functools import cache
from pathlib import Path
from typing import Any

from playwright.sync_api import Page

_AXE = Path(__file__).parent / "vendor" / "axe-core" / "axe.min.js"
# The guidelines, and what axe calls best practice: landmarks, the order of headings.
_TAGS = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice")
# axe leaves out the rules of 2.2 unless they are asked for.
_ALSO = ("target-size",)
_MOUSE_ONLY = """() => {
  const focusable = "a[href], button, input, select, textarea, label, summary, iframe, [tabindex]";
  const isReachable = (element) => element.closest(focusable) || element.querySelector(focusable);
  return [...document.querySelectorAll("body *")]
    .filter((element) => element.checkVisibility() && getComputedStyle(element).cursor === "pointer")
    .filter((element) => !isReachable(element))
    .map((element) => element.outerHTML.slice(0, 120));
}"""


@cache
def _script() -> str:
    return _AXE.read_text()


def violations_of(page: Page, *rules: str) -> list[str]:
    """Return a line for each element that breaks a rule; of `rules` alone, where they are given."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(_script())  # past the policy of the page, as the tools of a browser are
    options: dict[str, Any] = {"resultTypes": ["violations"]}
    if rules:
        options["runOnly"] = {"type": "rule", "values": list(rules)}
    else:
        options["runOnly"] = {"type": "tag", "values": list(_TAGS)}
        options["rules"] = {rule: {"enabled": True} for rule in _ALSO}
    found = page.evaluate("options => axe.run(document, options)", options)
    return [
        f"{violation['id']}: {' '.join(map(str, node['target']))}: {node['failureSummary']}"
        for violation in found["violations"]
        for node in violation["nodes"]
    ]


def mouse_only(page: Page) -> list[str]:
    """Return a line for each element that says it can be clicked and that no key reaches."""
    return [f"no key reaches {html}" for html in page.evaluate(_MOUSE_ONLY)]
