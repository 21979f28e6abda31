"""Which joins of a query have columns without tables."""

from __future__ import annotations

import pytest

from queuectl.core.sql_text import Joins, joins


@pytest.mark.parametrize(
    ("query", "using"),
    [
        ("SELECT 1", ""),
        ("SELECT * FROM a JOIN b USING (x)", "x"),
        ("SELECT * FROM a JOIN b using(X,y) JOIN c Using ( z )", "x y z"),
        ('SELECT * FROM a JOIN b USING ("env")', "env"),
        ("SELECT * FROM a JOIN b USING ([env], `en``v`)", "env en`v"),
        ("SELECT * FROM a JOIN b USING ('env')", "env"),
        ("SELECT * FROM a JOIN b USING/* ) */(env)", "env"),
        ("SELECT * FROM a JOIN b USING -- )\n (env)", "env"),
        ("SELECT * FROM a JOIN b \ufeffUSING (\ufeffenv)", "env"),
        ("SELECT '/*' FROM a JOIN b USING (env) --*/", "env"),
        ("SELECT '''' FROM a JOIN b USING (env)", "env"),
        ('SELECT """" FROM a JOIN b USING (env)', "env"),
        ("SELECT [''] FROM a JOIN b USING (env)", "env"),
        ("SELECT command FROM job_list WHERE command LIKE 'using (env)'", ""),
        ("SELECT 1 /* using (env) */ -- using (env)", ""),
        ("SELECT 1 /* using (env)", ""),
        ('SELECT "using (env)"', ""),
        ("SELECT using_it(env), reusing FROM a", ""),
    ],
)
def test_columns_of_using(query: str, using: str) -> None:
    """The words of a query are those that SQLite sees."""
    assert joins(query) == Joins(False, frozenset(using.split()))


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("SELECT * FROM a NATURAL JOIN b", True),
        ("SELECT * FROM a natural/**/left join b", True),
        ("SELECT 'natural'", False),
        ("SELECT naturally FROM a", False),
    ],
)
def test_natural_joins(query: str, expected: bool) -> None:
    """A NATURAL JOIN is found, and no other word is taken for it."""
    assert joins(query).has_natural is expected
