"""The progress line, on a terminal and in a log."""

from __future__ import annotations

import io

import pytest

from realizar_lambda.cli.quantize import Progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


class Clock:
    """Seconds that pass only when told."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def test_a_terminals_line_is_rewritten_with_share_rate_and_time_left():
    stream, clock = Terminal(), Clock()
    progress = Progress(4_000_000, stream, clock)
    clock.now += 2
    progress.advance("blk.0.ffn_up.weight", 1_000_000)
    assert stream.getvalue() == "\r\x1b[K 25%  976.6 KiB of 3.8 MiB  0.5 MB/s  0:06 left  blk.0.ffn_up.weight"
    progress.advance("blk.0.ffn_up.weight", 1_000_000)
    assert stream.getvalue().count("\r") == 1
    clock.now += 2
    progress.finish()
    assert stream.getvalue().endswith("\r\x1b[K1.9 MiB read in 4.0 s, 0.5 MB/s\n")


@pytest.mark.parametrize(("seconds", "n_lines"), [(1, 0), (12, 2)])
def test_a_log_gets_a_line_now_and_then(seconds, n_lines):
    stream, clock = io.StringIO(), Clock()
    progress = Progress(1000, stream, clock)
    for _ in range(seconds):
        clock.now += 1
        progress.advance("a", 10)
    assert stream.getvalue().count("\n") == n_lines
    assert "\r" not in stream.getvalue()


def test_nothing_to_read_is_done_at_once():
    stream = io.StringIO()
    Progress(0, stream, Clock()).finish()
    assert stream.getvalue() == "0 B read in 0.0 s, 0.0 MB/s\n"


def test_no_time_left_is_told_from_the_first_hundredth():
    stream, clock = Terminal(), Clock()
    progress = Progress(1_000_000, stream, clock)
    clock.now += 3
    progress.advance("a", 100)
    assert stream.getvalue() == "\r\x1b[K  0%  100 B of 976.6 KiB  0.0 MB/s  a"
