"""`sql`: what it answers, what it refuses, and what it never shows."""

from __future__ import annotations

import csv
import io
import os
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any, Iterator, Sequence

import pytest

from queuectl.core.job_query import FIELDS, parse
from queuectl.core.models import Verdict
from queuectl.core.specs import JobSpec
from queuectl.core.states import JobState
from queuectl.storage.read_only import QueryRefused, ask, promised_views
from support.clock import noon
from support.outcomes import COMPLETED, EXIT_1, OK
from support.pages import TOPICS, code, rows
from support.queue import Queue
from support.terminal import on_terminal
from support.watch.file_watch import by_hand

_SECRET = "hunter2"
_ENDLESS = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
_OTHER_USER = 61_234


@pytest.fixture
def filled(queue: Queue) -> Queue:
    """A queue with a completed and a dead job, whose every secret is the same word."""
    storage = queue.storage
    storage.enqueue(
        [
            JobSpec(command="true", id="a", env={"TOKEN": _SECRET}, input=_SECRET.encode()),
            JobSpec(command="false", id="b", label="it's", queue="x"),
        ],
        now=noon(0),
    )
    storage.record(storage.claim("w1", ("default",), now=noon(1)), OK, COMPLETED, now=noon(2))
    dead = Verdict(JobState.DEAD, last_error="exit 1")
    storage.record(storage.claim("w1", ("x",), now=noon(3)), EXIT_1, dead, now=noon(4))
    storage.set_key("job-timeout", "77")
    queue.close_storage()
    with closing(sqlite3.connect(str(queue.database), isolation_level=None)) as conn:
        conn.execute(
            """
            INSERT INTO hooks (name, events, url, secret, old_secret, header, env, created_at)
            VALUES ('ops', 'dead', 'https://hunter2', 'hunter2', 'hunter2', 'hunter2', 'hunter2',
                    '2026')
            """
        )
        conn.execute(
            """
            INSERT INTO schedules (name, expression, spec, anchor, created_at, updated_at)
            VALUES ('nightly', 'every 1d', '{"env": {"TOKEN": "hunter2"}}', 't', 't', 't')
            """
        )
        conn.execute("INSERT INTO meta VALUES ('key', 'hunter2')")
    return queue


def _rows(queue: Queue, query: str, **options: Any) -> list[tuple[object, ...]]:
    return list(ask(queue.files, query, **{"show_env": False, "seconds": 20.0, **options}).rows)


# What it answers


def test_a_table(filled: Queue) -> None:
    """Off a terminal a row takes one line, whole; NULL is empty, and bytes are hexadecimal."""
    query = "SELECT id, number, label, x'00ff' AS bytes, 0.1 + 0.2 AS sum FROM job_list"

    assert filled.run("sql", query) == (
        0,
        "id  number  label  bytes  sum\n"
        "a        1         00ff   0.3\n"
        "b        2  it's   00ff   0.3\n",
        "",
    )


def test_json(filled: Queue) -> None:
    """A row is an object; an infinite number is null, since JSON has none."""
    query = "SELECT id, label, 9e999 AS more, x'00ff' AS bytes FROM job_list"

    assert filled.json("sql", query) == [
        {"id": "a", "label": None, "more": None, "bytes": "00ff"},
        {"id": "b", "label": "it's", "more": None, "bytes": "00ff"},
    ]
    assert filled.json("sql", "SELECT 1 WHERE 0") == []


def test_csv(filled: Queue) -> None:
    """CSV is as RFC 4180 says: a header, CRLF at the end of lines, quotes where they are needed."""
    done = filled.run("sql", "--csv", "SELECT id, label, 'a,\"b\"' AS q FROM job_list")

    assert done == (0, 'id,label,q\r\na,,"a,""b"""\r\nb,it\'s,"a,""b"""\r\n', "")
    assert list(csv.reader(io.StringIO(done.out)))[2] == ["b", "it's", 'a,"b"']


def test_the_query_may_come_from_stdin_or_in_several_words(filled: Queue) -> None:
    """With - it is read from stdin; several words are one query."""
    assert filled.ok("sql", "-", stdin="SELECT 1 AS one;\n-- the end\n") == "one\n  1"
    assert filled.ok("sql", "SELECT", "2", "AS", "two") == "two\n  2"


def test_no_rows(filled: Queue) -> None:
    """No rows are success."""
    assert filled.run("sql", "SELECT 1 WHERE 0") == (0, "", "no rows\n")
    assert filled.run("sql", "--csv", "SELECT 1 AS one WHERE 0") == (0, "one\r\n", "")


def test_without_a_query_the_views_are_listed(queue: Queue) -> None:
    """Each view is listed with its columns; the queue need not exist."""
    done = queue.run("sql")

    assert (done.code, done.err) == (0, "")
    for view in promised_views():
        assert f"{view.name}:" in done.out
        assert " ".join(view.columns) in done.out
    assert "Examples:\n  queuectl sql" in done.out


def test_the_examples_work(filled: Queue) -> None:
    """What the list of views gives as examples can be run."""
    for line in filled.ok("sql").split("Examples:\n")[1].splitlines():
        query = line.split("'")[1]
        assert filled.run("sql", query).code == 0


def test_a_queue_that_does_not_exist(queue: Queue) -> None:
    """At the default place it counts as an empty one; nothing is made."""
    assert queue.fails(1, "sql", "SELECT 1") == (
        f"queuectl sql: no queue at {queue.database} yet "
        "(enqueue a job or start a worker to make one)"
    )
    assert queue.ok("sql", "SELECT count(*) AS n FROM job_list", env={"QUEUECTL_DB": ""}) == "n\n0"
    assert list(queue.home.iterdir()) == []


def test_wide_rows_on_a_terminal_are_printed_below_each_other(filled: Queue) -> None:
    """If not even cut values fit into a line, each column of a row gets a line of its own."""
    done = on_terminal(filled, "sql", "SELECT * FROM job_list ORDER BY number", size=(80, 24))

    assert done.screen.startswith("id:               a\nnumber:           1\nqueue:")
    assert "\n\nid:               b\n" in done.screen


def test_a_table_on_a_terminal_fits_into_its_lines(queue: Queue) -> None:
    """Texts are cut, numbers are whole and on the right."""
    queue.storage.enqueue([JobSpec(command="x" * 300, id="a" * 40)], now=noon(0))
    done = on_terminal(queue, "sql", "SELECT id, number, command FROM job_list", size=(80, 24))

    header, row = done.screen.splitlines()
    assert len(row) == 80
    assert header.split() == ["id", "number", "command"]
    assert row.split()[1] == "1"


@pytest.mark.parametrize("option", ["--csv", "--json", "--show-env"])
def test_control_characters_do_not_reach_a_terminal(queue: Queue, option: str) -> None:
    """Neither from a value nor from the name of a column."""
    queue.storage.enqueue([JobSpec(command="\x1b]0;x\x07", id="a")], now=noon(0))
    query = "SELECT command AS '\x1b[31m' FROM job_list"

    assert "\x1b" not in on_terminal(queue, "sql", option, query).screen


def test_two_columns_with_one_name(queue: Queue) -> None:
    """A table may have them, an object of JSON may not."""
    queue.storage.enqueue([JobSpec(command="true")], now=noon(0))

    assert queue.ok("sql", "SELECT 1 AS a, 2 AS a").split() == ["a", "a", "1", "2"]
    assert queue.fails(1, "sql", "--json", "SELECT 1 AS a, 2 AS a") == (
        "queuectl sql: two columns are named a (give one another name with AS)"
    )


def test_many_rows_need_little_memory(queue: Queue) -> None:
    """Rows are kept in a temporary file until the query has ended, and printed from there."""
    queue.storage.enqueue([JobSpec(command="true")], now=noon(0))
    query = """
        WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000)
        SELECT i, printf('%.*c', 40, 'x') AS text FROM n
    """
    lines = queue.ok("sql", "--csv", query).split("\r\n")

    assert len(lines) == 100_001
    assert lines[100_000] == "100000," + "x" * 40


# What it never shows

_HIDDEN = [
    "jobs.env",
    "staged_jobs.env",
    "contents.content",
    "hooks.env",
    "schedules.spec",
    "hooks.secret",
    "hooks.old_secret",
    "hooks.url",
    "hooks.header",
    "config.value",
    "meta.value",
]

_WAYS = [
    "SELECT {c} FROM {t}",
    "SELECT one.{c} FROM {t} AS one",
    "SELECT * FROM {t}",
    "SELECT * FROM main.{t}",
    'SELECT "{c}" FROM "{t}"',
    "SELECT [{c}] FROM `{t}`",
    "SELECT x FROM (SELECT {c} AS x FROM {t})",
    "SELECT x FROM (SELECT * FROM (SELECT {c} AS x FROM {t}) LIMIT 1000)",
    "WITH w AS (SELECT * FROM {t}) SELECT {c} FROM w",
    "WITH RECURSIVE w (x) AS (SELECT {c} FROM {t} UNION SELECT x FROM w) SELECT x FROM w",
    "SELECT other.{c} FROM {t} AS one JOIN {t} AS other ON 1",
    "SELECT other.{c} FROM {t} AS one LEFT JOIN {t} AS other ON one.{c} = other.{c}",
    "SELECT (SELECT {c} FROM {t} WHERE {c} IS NOT NULL LIMIT 1)",
    "SELECT group_concat({c}) FROM {t}",
    "SELECT max({c}) FROM {t}",
    "SELECT max({c}) OVER (PARTITION BY {c} ORDER BY {c}) FROM {t}",
    "SELECT {c} FROM {t} UNION SELECT NULL",
    "SELECT {c} FROM {t} EXCEPT SELECT NULL",
    "SELECT {c} FROM {t} GROUP BY {c} HAVING {c} > ''",
    "SELECT {c} FROM {t} ORDER BY {c} DESC",
    "SELECT {c} AS x FROM {t} WHERE x > '' ORDER BY x",
    "SELECT value FROM {t}, json_each(json_array({t}.{c}))",
    "SELECT json_object('x', quote({c})) FROM {t}",
    "SELECT json_group_array(quote({c})) FROM {t}",
    "SELECT hex({c}), length({c}), unicode({c}), typeof({c}) FROM {t} WHERE {c} NOT NULL",
    "SELECT CAST({c} AS TEXT), substr({c}, 1), {c} || '' FROM {t}",
    "SELECT 'hunter2' FROM {t} WHERE {c} LIKE '%hunter%'",
    "SELECT 'hunter2' FROM {t} WHERE {c} GLOB '*hunter*'",
    "SELECT 'hunter2' FROM {t} WHERE instr({c}, 'hunter')",
    "SELECT 'hunter2' FROM {t} WHERE {c} IN ('hunter2', x'68756e74657232')",
    "SELECT 'hunter2' FROM {t} WHERE ({c}, 1) >= ('', 0)",
    "SELECT 'hunter2' FROM {t} WHERE 'hunter2' IN (SELECT {c} FROM {t})",
    "SELECT 'hunter2' WHERE EXISTS (SELECT 1 FROM {t} WHERE {c} > '')",
    "SELECT CASE WHEN {c} > '' THEN 'hunter2' END FROM {t}",
    "SELECT coalesce({c}, 'nothing') FROM {t}",
    "SELECT {c} FROM spy_{t}",
    "SELECT 'hunter2' FROM spy_{t} WHERE {c} LIKE '%hunter%'",
    # SQLite does not ask the authorizer about these columns, as it must to hide them.
    "SELECT {c} FROM (SELECT 1 AS {c} WHERE 0) AS one FULL JOIN {t} AS other USING ({c})",
    'SELECT {c} FROM (SELECT 1 AS {c} WHERE 0) AS one FULL JOIN {t} USING/**/( "{c}" )',
    "SELECT {c} FROM (SELECT 1 AS {c} WHERE 0) AS one FULL JOIN {t} \ufeffUSING ([{c}])",
    "SELECT * FROM (SELECT 1 AS {c} WHERE 0) AS one NATURAL FULL JOIN {t}",
    "SELECT guess FROM (SELECT 'hunter2' AS {c}, 'hunter2' AS guess) JOIN {t} USING ({c})",
    "SELECT guess FROM (SELECT 'hunter2' AS {c}, 'hunter2' AS guess) NATURAL JOIN {t}",
    "SELECT guess FROM (SELECT x'68756e74657232' AS {c}, 'hunter2' AS guess) NATURAL JOIN {t}",
]


def _found(queue: Queue, query: str, *, show_env: bool) -> str:
    try:
        rows = _rows(queue, query, show_env=show_env)
    except QueryRefused as error:
        return f"refused: {error}"
    return repr([value for row in rows for value in row])


@pytest.mark.parametrize("hidden", _HIDDEN)
def test_environments_and_secrets_are_read_as_null(filled: Queue, hidden: str) -> None:
    """In whichever way a query asks for a hidden column, or looks for something in it."""
    table, column = hidden.split(".")
    with closing(sqlite3.connect(str(filled.database), isolation_level=None)) as conn:
        conn.execute(f"CREATE VIEW spy_{table} AS SELECT * FROM {table}")
    for way in _WAYS:
        query = way.format(t=table, c=column)
        found = _found(filled, query, show_env=False)
        assert "hunter2" not in found, query
        assert b"hunter2".hex() not in found.lower(), query


@pytest.mark.parametrize("view", [view.name for view in promised_views()])
def test_no_promised_view_shows_them(filled: Queue, view: str) -> None:
    """Not even if environments are shown, and so all columns of the views may be joined freely."""
    assert "hunter2" not in _found(filled, f"SELECT * FROM {view}", show_env=True)
    columns = next(one.columns for one in promised_views() if one.name == view)
    assert not set(columns) & {hidden.split(".")[1] for hidden in _HIDDEN}


def test_show_env_shows_environments_and_no_secrets(filled: Queue) -> None:
    """It is for variables, and for what jobs read from stdin. The keys of hooks stay hidden."""
    shown = [name for name in _HIDDEN if name.split(".")[1] in ("env", "content", "spec")]
    for hidden in _HIDDEN:
        table, column = hidden.split(".")
        found = _found(filled, f"SELECT {column} FROM {table}", show_env=True)
        is_filled = hidden != "staged_jobs.env"
        assert ("hunter2" in found) is (hidden in shown and is_filled), hidden
    assert "hunter2" in filled.ok("sql", "--show-env", "SELECT env FROM jobs")
    assert "hunter2" not in filled.ok("sql", "SELECT env FROM jobs")


def test_columns_of_views_can_be_joined_by_name(filled: Queue) -> None:
    """USING works with the promised columns, which hold no secrets."""
    query = "SELECT id, completed FROM job_list JOIN queue_list USING (queue) ORDER BY id"

    assert _rows(filled, query) == [("a", 1), ("b", 0)]


def test_json_can_be_taken_apart(filled: Queue) -> None:
    """Tables that are functions can be read, though they have no definition in the file."""
    query = "SELECT number, value FROM job_list, json_each('[1, 2]') ORDER BY number, value"

    assert _rows(filled, query) == [(1, 1), (1, 2), (2, 1), (2, 2)]
    assert _rows(filled, "SELECT atom FROM json_tree('[\"x\"]') WHERE atom > ''") == [("x",)]


# What it refuses

_ONLY_READS = "(a query can only read tables and views)"


@pytest.mark.parametrize(
    "query",
    [
        "DELETE FROM jobs",
        "UPDATE jobs SET state = 'pending'",
        "INSERT INTO meta VALUES ('a', 'b')",
        "WITH w AS (SELECT 1) DELETE FROM jobs",
        "CREATE TABLE x (y)",
        "CREATE TEMP TABLE x (y)",
        "CREATE TEMP VIEW x AS SELECT env FROM jobs",
        "CREATE VIRTUAL TABLE temp.x USING fts5 (y)",
        "DROP TABLE jobs",
        "ALTER TABLE jobs ADD COLUMN x",
        "PRAGMA journal_mode = DELETE",
        "PRAGMA query_only = OFF",
        "PRAGMA writable_schema = ON",
        "PRAGMA trusted_schema = ON",
        "PRAGMA hard_heap_limit = 0",
        "PRAGMA wal_checkpoint",
        "ATTACH '/tmp/other.db' AS other",
        "DETACH main",
        "VACUUM",
        "VACUUM INTO '/tmp/copy.db'",
        "BEGIN IMMEDIATE",
        "SAVEPOINT x",
        "COMMIT",
        "ANALYZE",
        "REINDEX",
        "SELECT * FROM pragma_table_info('jobs')",
        "SELECT * FROM pragma_query_only",
        "SELECT * FROM dbstat",
        "SELECT data FROM sqlite_dbpage",
        "SELECT a.x FROM (SELECT 1 AS x WHERE 0) AS a FULL JOIN sqlite_dbpage AS b USING (data)",
        "SELECT * FROM sqlite_temp_master",
        "SELECT load_extension('/tmp/x.so')",
        "SELECT fts3_tokenizer('simple')",
        "SELECT readfile('/etc/passwd')",
        "SELECT writefile('/tmp/x', 'y')",
        "SELECT 1; SELECT 2",
        "SELECT ?",
        "SELECT zeroblob(2000000000)",
        "SELECT json('{')",
        "SELECT nowhere FROM jobs",
        "SELECT * FROM nowhere",
        "SELEC 1",
        "SELECT '\0'",
    ],
)
def test_nothing_but_reading(filled: Queue, query: str) -> None:
    """A query that would do more is refused, and changes nothing."""
    before = filled.export()

    with pytest.raises(QueryRefused) as refused:
        _rows(filled, query)

    assert "\n" not in str(refused.value)
    assert filled.export() == before
    assert not Path("/tmp/copy.db").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["DELETE FROM jobs"], 1, f"not authorized {_ONLY_READS}"),
        (["SELECT * FROM nowhere"], 1, "no such table: nowhere"),
        (["SELECT 1; SELECT 2"], 1, "give one statement at a time"),
        (["SELECT 1 FROM job_list NATURAL JOIN run_list"], 1,
         "NATURAL JOIN is not allowed (use: JOIN … ON)"),
        (["SELECT 1 FROM jobs JOIN jobs AS o USING (env)"], 1,
         "USING (env) is not allowed (use: JOIN … ON)"),
        (["SELECT ?"], 1, "a query has no parameters: write the values in place of ? and :name"),
        (["SELECT :job"], 1, "a query has no parameters: write the values in place of ? and :name"),
        (["SELECT '\udcff'"], 1, "the query is not valid UTF-8"),
        ([""], 2, "the query is empty"),
        (["-- nothing"], 2, "the query is empty"),
        (["--json", "--csv", "SELECT 1"], 2, "--json and --csv cannot be used together"),
        (["--json"], 2, "no query given (as an argument, or - to read it from stdin)"),
    ],
)  # fmt: skip
def test_refusals(filled: Queue, arguments: Sequence[str], code: int, message: str) -> None:
    """One line says what is wrong."""
    words = ["--", *arguments] if arguments[0].startswith("-- ") else arguments

    assert filled.fails(code, "sql", *words) == f"queuectl sql: {message}"


# Time and memory


@pytest.mark.parametrize("option", [(), ("--json",), ("--csv",)])
def test_a_query_ends_in_time(filled: Queue, option: Sequence[str]) -> None:
    """A query without an end is ended, with an exit code of its own, and prints nothing."""
    assert filled.fails(124, "sql", "--timeout", "0.5", *option, _ENDLESS) == (
        "queuectl sql: the query took longer than 0.50 s (--timeout)"
    )


def test_a_single_function_that_never_ends(filled: Queue) -> None:
    """SQLite looks at no clock within a function: then the process is ended as well."""
    slow = "SELECT instr(hex(zeroblob(5000000)), hex(zeroblob(2000000)) || '1')"

    assert filled.fails(124, "sql", "--timeout", "0.2", slow) == (
        "queuectl sql: the query took longer than 0.20 s (--timeout)"
    )


def test_a_query_cannot_take_all_memory(filled: Queue) -> None:
    """A query that needs too much is refused."""
    query = """
        WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000)
        SELECT length(group_concat(hex(zeroblob(100000)))) FROM n
    """
    with pytest.raises(QueryRefused, match=r"too big|MiB of memory"):
        _rows(filled, query)


# Which files it can read


def _check(queue: Queue, **options: Any) -> None:
    assert queue.ok("sql", "SELECT count(*) AS n FROM job_list", **options).split() == ["n", "2"]


def test_a_queue_in_use_is_read(filled: Queue) -> None:
    """No writer keeps a query waiting, and what is committed is seen."""
    with closing(sqlite3.connect(str(filled.database), isolation_level=None)) as conn:
        conn.execute("BEGIN IMMEDIATE")
        conn.execute("UPDATE jobs SET priority = 9")
        _check(filled, as_process=True)
        conn.execute("COMMIT")
        query = "SELECT max(priority) AS p FROM job_list"
        assert filled.ok("sql", query, as_process=True).split() == ["p", "9"]


def test_a_file_whose_log_was_left(filled: Queue) -> None:
    """What a killed process committed is in the log, and its shared memory may be gone."""
    copy = filled.folder / "copy.db"
    with closing(sqlite3.connect(str(filled.database), isolation_level=None)) as conn, by_hand():
        conn.execute("UPDATE jobs SET priority = 9")
        for end in ("", "-wal"):
            Path(f"{copy}{end}").write_bytes(Path(f"{filled.database}{end}").read_bytes())

    assert filled.ok("--db", str(copy), "sql", "SELECT max(priority) AS p FROM jobs").split() == [
        "p", "9",
    ]  # fmt: skip


@pytest.fixture
def foreign(filled: Queue) -> Iterator[Queue]:
    """The same queue in a folder of root that everybody can read."""
    if os.geteuid() != 0:
        pytest.skip("only root can be two users")
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        with by_hand():
            (folder / "queue.db").write_bytes(filled.database.read_bytes())
        (folder / "queue.db").chmod(0o644)
        filled.database, filled.work = folder / "queue.db", folder
        filled.env["QUEUECTL_DB"] = str(filled.database)
        yield filled
        filled.close()


def test_a_user_who_may_only_read(foreign: Queue) -> None:
    """They can query a queue that nobody uses, and one that is in use."""
    _check(foreign, user=(_OTHER_USER, _OTHER_USER))
    assert [path.name for path in foreign.database.parent.iterdir()] == ["queue.db"]

    foreign.start()
    foreign.ok("enqueue", "--wait", "--priority", "9", "true")
    query = "SELECT max(priority) AS p FROM job_list WHERE state = 'completed'"
    assert foreign.ok("sql", query, user=(_OTHER_USER, _OTHER_USER)).split() == ["p", "9"]


def test_a_log_that_a_reader_cannot_open(foreign: Queue) -> None:
    """Without shared memory SQLite cannot read a log: what it holds must not be left out."""
    with closing(sqlite3.connect(str(foreign.database), isolation_level=None)) as conn, by_hand():
        conn.execute("UPDATE jobs SET priority = 9")
        log = Path(f"{foreign.database}-wal").read_bytes()
    with by_hand():
        Path(f"{foreign.database}-wal").write_bytes(log)

    told = foreign.fails(1, "sql", "SELECT 1 AS one", user=(_OTHER_USER, _OTHER_USER))
    assert told == (
        f"queuectl sql: cannot read {foreign.database}: its last changes are in a log beside it, "
        "and you cannot make a file there (its owner can: queuectl status)"
    )


def test_a_damaged_file(filled: Queue) -> None:
    """One line says that the file is at fault."""
    with by_hand():
        whole = filled.database.read_bytes()
        filled.database.write_bytes(whole[:100] + b"\xff" * 3000 + whole[3100:])
    damaged = f"queuectl sql: {filled.database} is damaged or not a queue: "
    assert filled.fails(1, "sql", "SELECT * FROM jobs").startswith(damaged)

    with by_hand():
        filled.database.write_bytes(b"no database" * 1000)
    assert filled.fails(1, "sql", "SELECT 1").startswith(damaged)


def test_an_older_file_is_upgraded_first(queue: Queue) -> None:
    """As by every command that looks."""
    released = Path(__file__).parents[1] / "storage" / "released" / "schema-3.sql"
    with closing(sqlite3.connect(str(queue.database))) as conn:
        conn.executescript(released.read_text())
    queue.database.chmod(0o600)

    assert queue.ok("sql", "SELECT count(*) AS n FROM job_list").split() == ["n", "8"]


def test_a_backup_can_be_queried(filled: Queue) -> None:
    """It is not in WAL mode, and stays as it is."""
    filled.ok("backup", str(filled.folder / "backup.db"))
    backup = filled.folder / "backup.db"
    with by_hand():
        before = backup.read_bytes()
    _check(filled, env={"QUEUECTL_DB": str(backup)})
    with by_hand():
        assert backup.read_bytes() == before


def test_a_table_that_another_program_made(filled: Queue) -> None:
    """A view in the place of one of our tables is refused, as by every command."""
    with closing(sqlite3.connect(str(filled.database), isolation_level=None)) as conn:
        conn.execute("ALTER TABLE workers RENAME TO others")
        conn.execute("CREATE VIEW workers AS SELECT * FROM others")

    assert "another program made workers in it" in filled.fails(1, "sql", "SELECT 1")


# The page about it


def test_the_page_names_all_columns(queue: Queue) -> None:
    """It has a section for each view, and there each column once."""
    for view in promised_views():
        cells = [row[0] for row in rows(TOPICS["queries"].section(view.name))]
        assert [name for cell in cells for name in code(cell)] == list(view.columns)


def test_the_queries_of_the_page_work(filled: Queue) -> None:
    """Each is accepted as it stands."""
    queries = [block.partition("```")[0] for block in TOPICS["queries"].text.split("```sql\n")[1:]]
    assert len(queries) == 3
    for query in queries:
        _rows(filled, query)


def test_the_page_names_the_fields_of_find() -> None:
    """Each with an example that can be typed."""
    cells = [row[0] for row in rows(TOPICS["queries"].section("Finding jobs by words"))]
    examples = [name for cell in cells for name in code(cell)]

    assert sorted(example.partition(":")[0] for example in examples) == sorted(FIELDS)
    for example in examples:
        assert parse(example, now=noon(0)).words == ()
