"""Training steps compiled for accelerators that are not there."""

import pytest

from plasticity import target
from plasticity.experiments.topology import topology
from plasticity.experiments.validate import ConfigError


@pytest.mark.parametrize("name", ["", "v5e", "v5e:2", "v5e:2x2x1", "v4:2x2", "v9:2x2", "v5e:0x2"])
def test_a_name_that_is_none_is_refused(name):
    with pytest.raises(ConfigError, match=f"--topology={name} must be one of v4:AxBxC, v5e:AxB, "):
        topology(name)


def test_without_the_compiler_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"v5e:2x2 needs .* pip install '.\[tpu\]'"):
        topology("v5e:2x2")


def test_programs_are_made_for_other_devices():
    class Device:
        platform = "cuda"

        def __init__(self, process):
            self.process_index = process

    here = target.devices(), target.processes(), target.platform()
    with target.compiling_for([Device(0), Device(0), Device(1)]):
        assert len(target.devices()) == 3
        assert (target.processes(), target.platform()) == (2, "gpu")
    assert (target.devices(), target.processes(), target.platform()) == here
