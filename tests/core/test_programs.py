"""Which program a command runs."""

from __future__ import annotations

import pytest

from queuectl.core.hooks import DELIVER
from queuectl.core.programs import program_of


@pytest.mark.parametrize(
    ("command", "program"),
    [
        ("make report", "make"),
        (DELIVER, "webhook"),
        ("/usr/bin/python3 train.py", "python3"),
        ("./report", "report"),
        ("A=1 B='x y' make", "make"),
        ("env A=1 make", "make"),
        ("env -i -u HOME A=1 make", "make"),
        ("nice -n 10 make", "make"),
        ("nice make", "make"),
        ("timeout 5m rsync -a x y", "rsync"),
        ("timeout -k 5 -s INT 10 rsync", "rsync"),
        ("sudo -u www env A=1 nice ./run", "run"),
        ("nohup nice -n 5 timeout 60 ffmpeg -i x", "ffmpeg"),
        ("sh -c 'make all'", "make"),
        ("bash -lc 'cd x && make'", "cd"),
        ('sh -c "exec python3 x.py"', "python3"),
        ("bash script.sh", "bash"),
        ("sh", "sh"),
        ("sh -c", "sh"),
        ("exec gzip x", "gzip"),
        ("'my program' x", "my program"),
        ('"$HOME"/bin/run x', "run"),
        ("my\\ program x", "my program"),
        ("(cd x; make)", "cd"),
        ("make&&make install", "make"),
        ("  \n make", "make"),
        ("sudo", "sudo"),
        ("A=1", "A=1"),
        ("", ""),
        ("()", "()"),
        ("sh -c \"sh -c 'sh -c make'\"", "make"),
        ("日本語 x", "日本語"),
    ],
)
def test_programs(command: str, program: str) -> None:
    """The first word that is neither a variable nor a program that only runs another one."""
    assert program_of(command) == program
