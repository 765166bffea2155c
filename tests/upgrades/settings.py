"""The settings of a later release, which has more migrations and another name."""

from hetuflow.settings import *  # noqa: F403

HETUFLOW_VERSION = "9.0.0"
MIGRATION_MODULES = {"scheduling": "tests.upgrades.later"}
