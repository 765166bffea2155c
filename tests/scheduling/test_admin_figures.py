"""Figures that agents and attempts tell, as people read them."""

from scheduling.admin.figures import figures


def test_what_is_known_has_a_name_and_a_unit_and_the_rest_stands_as_it_was_told():
    told = {"gpu": {"n": 2}, "memory_peak": 9_187_328, "cpu_time": 0.001, "uptime": 7320.0, "load_1m": "high"}
    assert figures(told) == [
        ("CPU time", "1 ms"),
        ("Peak memory", "8.8 MiB"),
        ("Daemon runs for", "2 h 2 min"),
        ("gpu", '{"n": 2}'),
        ("load_1m", '"high"'),
    ]


def test_nothing_told_is_nothing_shown():
    assert figures({}) == []
