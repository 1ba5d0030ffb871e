"""Making the libraries, finding them, and what is said where there is none."""

from __future__ import annotations

import pytest
from theblock_kernels import library
from theblock_kernels.library import KernelsMissing


def test_nothing_is_opened_that_was_not_made(tmp_path):
    for back_end in library.BACK_ENDS:
        assert library.open_back_end(back_end, tmp_path) is None


def test_a_file_that_is_no_library_is_told(tmp_path):
    (tmp_path / library.library_name("portable")).write_bytes(b"no library")

    with pytest.raises(KernelsMissing, match="does not load"):
        library.open_back_end("portable", tmp_path)


def test_without_a_compiler_nothing_is_made(tmp_path, monkeypatch):
    monkeypatch.setattr(library, "COMPILERS", ("no-such-compiler",))

    with pytest.raises(KernelsMissing, match="no C"):
        library.make("portable", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_compiler_that_fails_is_quoted(tmp_path, monkeypatch):
    monkeypatch.setitem(library._FLAGS_OF, "portable", ("-fno-such-flag",))
    monkeypatch.setattr(library, "library_name", lambda back_end: f"{back_end}.so")

    with pytest.raises(KernelsMissing, match="no-such-flag"):
        library.make("portable", tmp_path)


def test_the_library_says_its_back_end(kernels):
    assert kernels.back_end in {*library.BACK_ENDS, library.EMULATED}


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        pytest.param("max 100000", None, id="no-limit"),
        pytest.param("200000 100000", 2, id="two"),
        pytest.param("150000 100000", 2, id="one-and-a-half"),
        pytest.param("50000 100000", 1, id="half"),
        pytest.param("-1\n", None, id="old-form-cut-short"),
        pytest.param("", None, id="empty"),
    ],
)
def test_threads_follow_the_control_group(tmp_path, monkeypatch, text, limit):
    (tmp_path / "cpu.max").write_text(text)
    monkeypatch.setattr(library, "_CGROUP_LIMITS", (str(tmp_path / "cpu.max"), str(tmp_path / "absent")))

    assert library.read_cpu_limit() == limit
    assert 1 <= library.count_threads() <= (limit or library.THREADS_MAX)
