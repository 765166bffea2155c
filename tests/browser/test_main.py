"""What `make test-browser` says on a machine without a browser."""

from tests.browser.__main__ import main


def test_without_a_chromium_it_says_what_to_install_and_fails(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CI", raising=False)
    assert main() == 1
    said = capsys.readouterr().err
    assert "apt-get install chromium" in said
    assert "google-chrome" in said
