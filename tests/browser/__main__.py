"""`make test-browser` and `make screenshots`: runs these tests where there is a Chromium.

A machine of CI gets one. Elsewhere it says what is missing, and fails: running tests changes no machine that
is somebody's, and pages that nobody looked at are not tested.
"""

import os
import shutil
import subprocess
import sys

from tests.browser.chromium import NAMES, path_of_chromium

# Browsers compute more than they wait, and a page that is looked at in three ways takes its time.
_TESTS = ("-n", "2", "--timeout", "300", "tests/browser")
_SCREENSHOTS = ("-n", "0", "--timeout", "600", "tests/browser/screenshots.py")
_MISSING = """The browser tests need Chromium, and this machine has none:
  Debian, Ubuntu   apt-get install chromium
  Fedora           dnf install chromium
  macOS            brew install --cask chromium
They look for {names} in PATH."""


def main() -> int:
    """Run pytest with the arguments that were given, and return its exit status."""
    if path_of_chromium() is None and os.environ.get("CI") and os.geteuid() == 0 and shutil.which("apt-get"):
        _install()
    if path_of_chromium() is None:
        print(_MISSING.format(names=", ".join(NAMES)), file=sys.stderr)  # noqa: T201
        return 1
    arguments = [each for each in sys.argv[1:] if each != "--screenshots"]
    what = _SCREENSHOTS if "--screenshots" in sys.argv else _TESTS
    return subprocess.call([sys.executable, "-m", "pytest", *arguments, *what])


def _install() -> None:
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for arguments in (["update"], ["install", "-y", "--no-install-recommends", "chromium"]):
        subprocess.run(["apt-get", "-qq", *arguments], env=quiet, check=False)


if __name__ == "__main__":
    sys.exit(main())
