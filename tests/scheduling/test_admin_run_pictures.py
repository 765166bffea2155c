"""The axis along which the page of a job draws attempts."""

import pytest

from scheduling.admin.run_pictures import attempts_picture
from scheduling.models import TaskInstance
from tests import factories

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("secs", "ticks"),
    [
        (0.003, ["0", "1 ms", "2 ms", "3 ms", "4 ms"]),
        (7, ["0", "2 s", "4 s", "6 s", "8 s"]),
        (96, ["0", "30 s", "60 s", "90 s", "2 min"]),
        (5000, ["0", "30 min", "60 min", "90 min", "2 h"]),
        (900_000, ["0", "72 h", "144 h", "216 h", "288 h"]),
    ],
)
def test_attempts_are_measured_by_lengths_that_people_count_in(secs, ticks):
    factories.ran_before(factories.job(), secs)
    picture = attempts_picture(TaskInstance.objects.select_related("task", "agent"), now=factories.NOW)
    assert picture["ticks"] == ticks
