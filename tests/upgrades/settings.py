"""The settings of a later release, which has more migrations."""

from hetuflow.settings import *  # noqa: F403

MIGRATION_MODULES = {"scheduling": "tests.upgrades.later"}
