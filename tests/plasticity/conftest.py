"""What several tests of the library share."""

import pytest

from tests import archives as small


@pytest.fixture
def tiny(monkeypatch, tmp_path):
    """{name: small data set}, their archives in tmp_path/archives, an empty data directory."""
    monkeypatch.setenv("PLASTICITY_DATA_DIR", str(tmp_path / "data"))
    small.write_all(tmp_path / "archives")
    return small.shrink(monkeypatch)
