import psutil
import pytest

from gateway import resources


def test_usages_are_the_machines(settings):
    usage = resources.resource_usage()
    assert 0 <= usage.cpu_usage <= 100
    assert usage.memory_usage == pytest.approx(psutil.virtual_memory().percent, abs=10)
    assert usage.disk_usage == pytest.approx(psutil.disk_usage(str(settings.DATA_DIR)).percent, abs=5)


def test_a_data_folder_that_is_not_there_is_no_error(settings, tmp_path):
    settings.DATA_DIR = tmp_path / "not" / "there"
    assert resources.resource_usage().disk_usage > 0


def test_a_machine_that_does_not_tell_of_its_network_is_no_error(monkeypatch):
    monkeypatch.setattr(psutil, "net_io_counters", lambda: None)
    assert resources.resource_usage().network_io is None


def test_processors_are_read_at_most_once_a_second(monkeypatch):
    readings = iter([10.0, 20.0])
    monkeypatch.setattr(psutil, "cpu_percent", lambda interval: next(readings))
    now = [100.0]
    monkeypatch.setattr(resources.time, "monotonic", lambda: now[0])
    meter = resources.ProcessorMeter()
    assert [meter.read(), meter.read()] == [10.0, 10.0]
    now[0] += 2
    assert meter.read() == 20.0
