"""Figures that many look at, made once for all of them."""

import threading
import time
from collections.abc import Callable, Hashable
from typing import Final, Generic, TypeVar

T = TypeVar("T")
# What took long is kept longer, so that making it anew takes at most this part of one session's time.
MAX_LOAD: Final = 0.05
_MAX_KEYS: Final = 256


class _Place(Generic[T]):
    """What is known under one key, and until when it holds."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.ends = 0.0
        self.value: T | None = None


class Shared(Generic[T]):
    """Values by key that are at least `fresh_secs` old before they are made anew, by one thread at a time."""

    def __init__(self, fresh_secs: float) -> None:
        self._fresh_secs = fresh_secs
        self._lock = threading.Lock()
        self._places: dict[Hashable, _Place[T]] = {}

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return the value of `key`, if need be by `make`; whoever asks meanwhile waits for it."""
        place = self._place(key)
        with place.lock:
            if place.value is None or time.monotonic() >= place.ends:
                begin = time.monotonic()
                place.value = make()
                end = time.monotonic()
                place.ends = end + max(self._fresh_secs, (end - begin) / MAX_LOAD)
            return place.value

    def forget(self) -> None:
        """Make everything anew when it is asked for next."""
        with self._lock:
            self._places.clear()

    def _place(self, key: Hashable) -> _Place[T]:
        with self._lock:
            if key not in self._places:
                if len(self._places) >= _MAX_KEYS:
                    now = time.monotonic()
                    self._places = {name: place for name, place in self._places.items() if place.ends > now}
                if len(self._places) >= _MAX_KEYS:
                    self._places.clear()
                self._places[key] = _Place()
            return self._places[key]
