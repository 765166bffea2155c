"""Recordings are made of whole installations."""

from tests.e2e.conftest import e2e_folder, fresh, own_folder

__all__ = ["e2e_folder", "fresh", "own_folder"]
