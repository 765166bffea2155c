"""`make test-browser`: runs these tests where there is a Chromium; a machine of CI gets one.

Elsewhere it says what is missing: running tests changes no machine that is somebody's.
"""

import os
import shutil
import subprocess
import sys

from tests.browser.chromium import path_of_chromium

# Browsers compute more than they wait, and a page that is looked at in three ways takes its time.
_OPTIONS = ("-n", "2", "--timeout", "300")


def main() -> int:
    """Run pytest with the arguments that were given, and return its exit status."""
    if path_of_chromium() is None and os.environ.get("CI") and os.geteuid() == 0 and shutil.which("apt-get"):
        _install()
    if path_of_chromium() is None:
        print("Skipped: the browser tests need Chromium (apt-get install chromium), which is not here.")  # noqa: T201
        return 0
    return subprocess.call([sys.executable, "-m", "pytest", *_OPTIONS, *sys.argv[1:], "tests/browser"])


def _install() -> None:
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for arguments in (["update"], ["install", "-y", "--no-install-recommends", "chromium"]):
        subprocess.run(["apt-get", "-qq", *arguments], env=quiet, check=False)


if __name__ == "__main__":
    sys.exit(main())
