import subprocess
import sys

import pytest

from tools.cluster import build
from tools.cluster.console import ClusterError


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("THEBLOCK_CACHE", str(tmp_path / "cache"))


def test_nothing_is_built_yet_in_an_empty_cache():
    assert build.built() is None


def test_what_was_built_is_taken_and_other_sources_are_not_it(tmp_path, monkeypatch):
    sources = tmp_path / "kube"
    sources.mkdir()
    for name in ("main.go", "go.mod", "go.sum"):
        (sources / name).write_text(name)
    monkeypatch.setattr(build, "SOURCES", sources)
    place = build._place()
    place.parent.mkdir(parents=True)
    place.write_text("binary")

    assert build.ensure_kube() == place
    (sources / "main.go").write_text("changed")
    assert build.built() is None


def test_without_go_the_message_says_where_to_get_it(monkeypatch):
    monkeypatch.setattr(build, "find_go", lambda: None)

    with pytest.raises(ClusterError, match=r"https://go\.dev/dl/"):
        build.ensure_kube()


def test_a_build_that_fails_says_what_the_compiler_said(tmp_path):
    complaint = [sys.executable, "-c", "import sys; sys.exit('undefined: x')"]

    with pytest.raises(ClusterError, match="undefined: x"):
        build._run_build(complaint, {}, tmp_path / "log")


def test_a_lock_keeps_another_process_out_until_it_is_given_back(tmp_path):
    path = tmp_path / "lock"
    program = (
        "import sys; from pathlib import Path; from tools.cluster.build import locked\n"
        f"with locked(Path({str(path)!r}), 'somebody builds'): print('in', flush=True)"
    )
    with build.locked(path, "nobody"):
        other = subprocess.Popen(
            [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert "somebody builds" in other.stderr.readline()
        assert other.poll() is None
    out, _ = other.communicate(timeout=30)
    assert out == "in\n"
