"""Hetuflow's settings with the bare resources beside it, so that one process serves both."""

from hetuflow.settings import *  # noqa: F403
from hetuflow.settings import INSTALLED_APPS as OURS

INSTALLED_APPS = [*OURS, "rest_framework.authtoken", "benchmarks.bare"]
ROOT_URLCONF = "benchmarks.bare.urls"
