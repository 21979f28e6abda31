"""Which deaths are the same one to people."""

from __future__ import annotations

import pytest

from queuectl.core.deaths import Death, group_key, in_groups
from support.clock import noon


@pytest.mark.parametrize(
    ("one", "other", "are_same"),
    [
        (("exit 12", "rsync: closed (1887 bytes)"), ("exit 12", "rsync: closed (5 bytes)"), True),
        (("exit 12", "closed"), ("exit 11", "closed"), False),
        (("exit 1", "no file 'a.txt'"), ("exit 1", 'no file "b.txt"'), True),
        (("exit 1", "no file a"), ("exit 1", "no file b"), False),
        (("exit 1", "at 0x7f3a"), ("exit 1", "at 0xffff0000"), True),
        (("exit 1", "id 3fa85f64-5717-4562-b3fc"), ("exit 1", "id 0badcafe-1111-2222-3333"), True),
        (("exit 1", None), ("exit 1", "x"), False),
        (("exit 1", None), ("exit 1", None), True),
        (("killed after 5m by its timeout", "37 %"), ("killed after 5m by its timeout", "x"), True),
        (("killed by signal 9 (KILL)", "a"), ("killed by signal 15 (TERM)", "a"), False),
        (("", None), ("", None), True),
    ],
)  # fmt: skip
def test_group_key(
    one: tuple[str, str | None], other: tuple[str, str | None], are_same: bool
) -> None:
    assert (group_key(*one) == group_key(*other)) == are_same


def test_in_groups() -> None:
    """The largest group comes first; of equally large ones, the one whose last job died last."""
    deaths = [
        Death(9, "i", None, "c", "exit 1", "b", noon(9)),
        Death(8, "h", None, "c", "exit 1", "file 8", noon(8)),
        Death(7, "g", None, "c", "exit 2", None, noon(7)),
        Death(6, "f", None, "c", "exit 1", "file 6", noon(6)),
    ]

    groups = in_groups(deaths)

    assert [(group.key, [job.seq for job in group.jobs]) for group in groups] == [
        ("exit 1: file #", [8, 6]), ("exit 1: b", [9]), ("exit 2", [7]),
    ]  # fmt: skip
    assert (groups[0].line, groups[0].first_at, groups[0].last_at) == ("file 8", noon(6), noon(8))
