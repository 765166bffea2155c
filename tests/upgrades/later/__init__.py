"""The migrations of scheduling as they are, and then those of this folder."""

from pathlib import Path

import scheduling.migrations

_AS_THEY_ARE = Path(scheduling.migrations.__file__).parent
__path__ = [str(_AS_THEY_ARE), *__path__]
NEWEST = max(path.stem for path in _AS_THEY_ARE.glob("0*.py"))
