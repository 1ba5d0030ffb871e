import json
import os
import signal
import subprocess
import sys
from contextlib import suppress

import pytest

from tools.cluster import layout as layouts
from tools.cluster import processes
from tools.cluster.console import ClusterError, wait


@pytest.fixture
def layout(tmp_path, monkeypatch):
    monkeypatch.setattr(layouts, "STATE_ROOT", tmp_path / "state")
    monkeypatch.setattr(layouts, "RUN_ROOT", tmp_path / "run")
    return layouts.layout_of("test")


def test_a_program_is_remembered_until_it_is_stopped(layout):
    pid = processes.start(layout, "waits", ["sleep", "600"])

    assert processes.names(layout) == ["waits"]
    assert processes.pid_of(layout, "waits") == pid
    processes.stop(layout, "waits")
    assert processes.names(layout) == []
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_program_that_ended_by_itself_is_not_alive(layout, tmp_path):
    # It ends when it is told to: before it is remembered, its end would be a refusal to start.
    told = tmp_path / "told"
    os.mkfifo(told)
    processes.start(layout, "ends", [sys.executable, "-c", f"open({str(told)!r}).read(); print('said this')"])
    assert processes.is_alive(layout, "ends")

    told.write_text("end")
    wait("it ends", lambda: not processes.is_alive(layout, "ends"), limit_seconds=20)
    assert "said this" in processes.tail(layout, "ends")


def test_a_number_that_belongs_to_somebody_else_now_is_left_alone(layout):
    processes.start(layout, "old", ["sleep", "600"])
    processes.stop(layout, "old")
    stranger = subprocess.Popen(["sleep", "600"])
    path = layout.run / "processes" / "old.json"
    path.write_text(json.dumps({"pid": stranger.pid, "started": 1}))

    assert not processes.is_alive(layout, "old")
    processes.stop(layout, "old")

    assert stranger.poll() is None
    stranger.kill()
    stranger.wait(10)


def test_a_program_that_is_not_there_is_refused(layout):
    with pytest.raises((ClusterError, FileNotFoundError)):
        processes.start(layout, "none", ["no-such-program"])
    assert processes.names(layout) == []


def test_only_processes_with_exactly_the_argument_are_killed(layout, tmp_path):
    argument = str(tmp_path / "socket")
    ours = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)", argument])
    longer = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)", f"{argument}.other"])

    processes.kill_matching(argument)

    assert ours.wait(10) == -signal.SIGKILL
    assert longer.poll() is None
    longer.kill()
    longer.wait(10)


def test_what_python_ignores_is_not_ignored_by_programs(layout):
    # It may have ended before it could be remembered, which is no less well.
    with suppress(ClusterError):
        processes.start(layout, "pipe", ["sh", "-c", "echo began; kill -PIPE $$; echo survived"])

    wait("it ends", lambda: not processes.is_alive(layout, "pipe"), limit_seconds=20)
    told = processes.tail(layout, "pipe")
    assert "began" in told
    assert "survived" not in told
