"""Progress lines, durations for people, and devices by name."""

import pytest

from sae.common.devices import available, choose
from sae.common.errors import UserError
from sae.common.progress import Console, seconds_text


@pytest.mark.parametrize(("seconds", "text"), [
    (0.04, "0.0 s"), (9.94, "9.9 s"), (42.4, "42 s"), (60, "1 min 00 s"), (185.2, "3 min 05 s"), (3600, "1 h 00 min"),
    (7801, "2 h 10 min"),
])  # fmt: skip
def test_durations(seconds, text):
    assert seconds_text(seconds) == text


def test_a_console_says_each_thing_once(capsys):
    console = Console()
    for _ in range(3):
        console.update(5, 5, "runs", rate=2)
    said = capsys.readouterr()
    assert said.out == "" and said.err == "runs: 5 of 5, rate 2\n"


def test_the_cpu_is_always_there_and_last():
    devices = available()
    assert devices[-1].name == "cpu" and (devices[-1].free_memory or 0) > 0 and "cores" in devices[-1].title
    assert choose("auto") == devices[0].name and choose("cpu") == "cpu"


def test_a_device_that_is_not_here_names_those_that_are():
    with pytest.raises(UserError, match=r"'cuda:99' is not on this machine; here are: .*cpu"):
        choose("cuda:99")
