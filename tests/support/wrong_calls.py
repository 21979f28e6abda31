"""Wrong uses of the command line, each with its error message."""

from __future__ import annotations

_TIMES = "(examples: 18:00, tomorrow 9:00, monday 6pm, 2026-12-24T18:00, in 20m)"

_DURATIONS = "(examples: 90, 30s, 5min, 1h30m, 2 hours, 1d 12h)"

_NAMES = "must be printable, without white space, comma or slash"

_DASHES = "(put -- before it if it is a command)"

_SYNTAX = "Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"


def _object(fields: str) -> list[str]:
    return ['{"command": "true", ' + fields + "}"]


# Arguments of `enqueue` and the message; … at its end stands for the rest.
WRONG_ENQUEUES: list[tuple[list[str | bytes], str]] = [
    # No command
    ([], "no command given (example: queuectl enqueue 'make report')"),
    (["--"], "no command given (example: queuectl enqueue 'make report')"),
    (["--priority", "5"], "no command given (example: queuectl enqueue 'make report')"),
    ([""], "the command is empty"),
    ([" \t\n"], "the command is empty"),
    (["--", ""], "the command is empty"),
    (["", "x"], "the command is empty"),
    (["{}"], "there is no command"),
    (['{"command": null}'], "there is no command"),
    (['{"command": ""}'], "the command is empty"),
    (['{"command": " \\n "}'], "the command is empty"),
    # Invalid JSON
    (["{"], f"not a JSON object: {_SYNTAX} {_DASHES}"),
    (["{bad}"], f"not a JSON object: {_SYNTAX} {_DASHES}"),
    (["{a,b}.sh", "x"], f"not a JSON object: {_SYNTAX} {_DASHES}"),
    (['{"command": "true"} x'], "not a JSON object: something follows it: 'x'…"),
    (['{"command": "true"'], "not a JSON object: Expecting ',' delimiter: …"),
    (
        ['{"command": "true", "command": "false"}'],
        f"not a JSON object: the key 'command' is given twice {_DASHES}",
    ),
    (
        ['{"command": "true", "env": ' + "[" * 100000 + "}"],
        f"not a JSON object: it is nested too deeply {_DASHES}",
    ),
    (_object('"priority": NaN'), f"not a JSON object: NaN is not a number {_DASHES}"),
    (_object('"timeout": Infinity'), f"not a JSON object: Infinity is not a number {_DASHES}"),
    (_object('"timeout": -Infinity'), f"not a JSON object: -Infinity is not a number {_DASHES}"),
    # Unknown fields, and fields that queuectl sets
    (['{"comand": "true"}'], "unknown field 'comand' (did you mean command?)"),
    (_object('"max-retries": 1'), "unknown field 'max-retries' (did you mean max_retries?)"),
    (['{"cmd": "true"}'], "unknown field 'cmd' (did you mean command?)"),
    (_object('"bogus": 1'), "unknown field 'bogus' (known: id command queue priority …"),
    (_object('"state": "dead"'), "state is set by queuectl; use import"),
    (_object('"attempts": 1'), "attempts is set by queuectl; use import"),
    (_object('"created_at": "x"'), "created_at is set by queuectl; use import"),
    (_object('"locked_by": "me"'), "locked_by is set by queuectl; use import"),
    # Types
    (['{"command": 5}'], "command must be text, not 5"),
    (['{"command": ["ls", "-l"]}'], 'command must be text, not ["ls", "-l"]'),
    (_object('"id": 7'), "id must be text, not 7"),
    (_object('"queue": {}'), "queue must be text, not {}"),
    (_object('"priority": "5"'), 'priority must be a whole number, not "5"'),
    (_object('"priority": 1.5'), "priority must be a whole number, not 1.5"),
    (_object('"max_retries": "3"'), 'max_retries must be a whole number, not "3"'),
    (_object('"max_retries": true'), "max_retries must be a whole number, not true"),
    (
        _object('"timeout": "10"'),
        'timeout must be a number of seconds or text like "10m", not "10"',
    ),
    (_object('"timeout": []'), 'timeout must be a number of seconds or text like "10m", not []'),
    (
        _object('"timeout": true'),
        'timeout must be a number of seconds or text like "10m", not true',
    ),
    (_object('"env": []'), "env must be an object of names and texts, not []"),
    (_object('"env": {"A": 1}'), "env A must be text, not 1"),
    (_object('"env": {"A": null}'), "env A must be text, not null"),
    (_object('"run_at": 5'), "run_at must be text, not 5"),
    (_object('"cwd": 5'), "cwd must be text, not 5"),
    (["--priority", "five", "true"], "--priority must be a whole number, not 'five'"),
    (["--max-retries", "1.5", "true"], "--max-retries must be a whole number, not '1.5'"),
    # Ranges
    (_object('"max_retries": -1'), "max_retries must be 0 to 1000000"),
    (_object('"priority": 1e999'), "priority must be a whole number, not Infinity"),
    (_object('"timeout": 1e999'), "timeout: a duration is 0 to 10 years, not inf s"),
    (_object('"timeout": -1'), "timeout: a duration is 0 to 10 years, not -1 s"),
    (_object('"timeout": ' + "9" * 400), "timeout must be a number of seconds or text like …"),
    (["--max-retries", "-1", "true"], "--max-retries must be 0 to 1000000"),
    (["--max-retries", "1000001", "true"], "--max-retries must be 0 to 1000000"),
    (["--priority", "1000000001", "true"], "--priority must be -1000000000 to 1000000000"),
    (["--timeout", "9" * 20, "true"], "--timeout: a duration is 0 to 10 years, not 1e+20 s"),
    (["--timeout", "3661d", "true"], "--timeout: a duration is 0 to 10 years, not 3.1631e+08 s"),
    # Text that is no command and no name
    (['{"command": "a\\u0000b"}'], "command holds a NUL byte"),
    (['{"command": "a\\ud800b"}'], "command is not valid UTF-8"),
    ([b"echo \xff"], "command is not valid UTF-8"),
    ([b"echo", b"\xff"], "command is not valid UTF-8"),
    ([b'{"command": "\xff"}'], "command is not valid UTF-8"),
    (["--id", b"\xff", "true"], "--id is not valid UTF-8"),
    (["--env", b"A=\xff", "true"], "--env A is not valid UTF-8"),
    (["--cwd", b"/tmp/\xff", "true"], "--cwd is not valid UTF-8"),
    (["--label", b"\xff", "true"], "--label is not valid UTF-8"),
    (["x" * 130001], "command has 130001 bytes; at most 130000 are allowed"),
    (["\u00e9" * 65001], "command has 130002 bytes; at most 130000 are allowed"),
    (
        ["--env", "A=" + "x" * 129999, "true"],
        "--env A has 129999 bytes; at most 129998 are allowed",
    ),
    (["--id", "", "true"], "--id is empty"),
    (["--id", "-x", "true"], "--id must not begin with -"),
    (["--id", "@x", "true"], "--id must not begin with @"),
    (["--id", "{x", "true"], "--id must not begin with {"),
    (["--id", "a b", "true"], f"--id {_NAMES}"),
    (["--id", "a\u00a0b", "true"], f"--id {_NAMES}"),
    (["--id", "a,b", "true"], f"--id {_NAMES}"),
    (["--id", "a/b", "true"], f"--id {_NAMES}"),
    (["--id", "a\nb", "true"], f"--id {_NAMES}"),
    (["--id", "a\x1b[31mb", "true"], f"--id {_NAMES}"),
    (["--id", "x" * 129, "true"], "--id has 129 bytes; at most 128 are allowed"),
    (["--id", "\u00e9" * 65, "true"], "--id has 130 bytes; at most 128 are allowed"),
    (["--queue", "", "true"], "--queue is empty"),
    (["--queue", "a b", "true"], f"--queue {_NAMES}"),
    (_object('"queue": "a/b"'), f"queue {_NAMES}"),
    (["--label", "", "true"], "--label must be one line of printable text"),
    (_object('"label": "a\\nb"'), "label must be one line of printable text"),
    # Times
    (["--delay", "5", "--at", "18:00", "true"], "--delay and --at cannot be used together"),
    (_object('"delay": 1, "run_at": "18:00"'), "delay and run_at cannot be used together"),
    (["--timeout", "", "true"], f"--timeout: not a duration: '' {_DURATIONS}"),
    (["--timeout", "-5", "true"], f"--timeout: not a duration: '-5' {_DURATIONS}"),
    (["--timeout", "nan", "true"], f"--timeout: not a duration: 'nan' {_DURATIONS}"),
    (["--timeout", "1e3", "true"], f"--timeout: not a duration: '1e3' {_DURATIONS}"),
    (
        ["--delay", "2", "hours", "make"],
        "put the value of --delay in quotes: --delay '2 hours' (or put -- before the command)",
    ),
    (
        ["--at", "tomorrow", "9:00"],
        "put the value of --at in quotes: --at 'tomorrow 9:00' (or put -- before the command)",
    ),
    (
        ["--at", "now", "+", "1", "hour", "make"],
        "put the value of --at in quotes: --at 'now + 1 hour' (or put -- before the command)",
    ),
    (["--delay", "10 parsecs", "true"], f"--delay: not a duration: '10 parsecs' {_DURATIONS}"),
    (_object('"delay": "1h30"'), f"delay: not a duration: '1h30' {_DURATIONS}"),
    (["--at", "", "true"], f"--at: not a time: '' {_TIMES}"),
    (["--at", "yesterday", "true"], f"--at: not a time: 'yesterday' {_TIMES}"),
    (["--at", "25:00", "true"], f"--at: not a time: '25:00' {_TIMES}"),
    (["--at", "2026-02-30", "true"], f"--at: not a time: '2026-02-30' {_TIMES}"),
    (_object('"run_at": "soon"'), f"run_at: not a time: 'soon' {_TIMES}"),
    # Folder and variables
    (["--cwd", "/no/such/folder", "true"], "--cwd is not a folder: /no/such/folder"),
    (["--cwd", "/etc/passwd", "true"], "--cwd is not a folder: /etc/passwd"),
    (["--cwd", "", "true"], "--cwd is empty"),
    (_object('"cwd": "/no/such/folder"'), "cwd is not a folder: /no/such/folder"),
    (["--env", "NOT_SET", "true"], "--env NOT_SET: NOT_SET is not set here"),
    (["--env", "=x", "true"], "--env: not a variable's name: ''"),
    (["--env", "A B=1", "true"], "--env: not a variable's name: 'A B'"),
    (["--env", "1A=1", "true"], "--env: not a variable's name: '1A'"),
    (["--env", "QUEUECTL_X=1", "true"], "--env: QUEUECTL_X is set by queuectl"),
    (["--env", "QUEUECTL_DB", "true"], "--env: QUEUECTL_DB is set by queuectl"),
    (_object('"env": {"A-B": "1"}'), "env: not a variable's name: 'A-B'"),
    # Words and options
    (["A=b make", "--priority", "5"], "options go before the command (or quote the whole …"),
    (["A=1", "--priority", "5", "make"], "options go before the command (or quote the whole …"),
    (["A=b c", "B=d e"], "options go before the command (or quote the whole command as one …"),
    (["A=b c", "ls -l"], "options go before the command (or quote the whole command as one …"),
    (
        ["ls -l", "--priority", "5"],
        "options go before the command (or quote the whole command as one word, or put -- before "
        "it)",
    ),
    (["--output", "none", "true"], "--output requires --wait"),
    (["--lines", "true"], "--lines requires - or --file"),
    (["-", "x"], "only options may follow -, not x"),
    (["--file", "jobs", "true"], "use one of: a command, -, or --file"),
    (["--file", "jobs", "-"], "use one of: a command, -, or --file"),
    (["--if-dup", "skip", "true"], "--if-dup requires --unique"),
    (["--if-dup", "replace", '{"command": "true"}'], "--if-dup requires --unique"),
    (_object('"if_dup": "replace"'), "if_dup requires unique_key"),
    (["--if-dup", "error", "--lines", "-"], "--if-dup requires unique_key, which --lines cannot…"),
    (['{"command": "true"}', "x"], "only options may follow a JSON object, not x"),
    (['{"command": "true"}', "--", "-x"], "only options may follow a JSON object, not -x"),
    (['{"command": "true"}', "--bogus"], "no such option…"),
    (["--bogus", "true"], "no such option…"),
    (["--id"], "option '--id' requires an argument"),
    (['{"command": "true"}', "--queue"], "option '--queue' requires an argument"),
]

_DURATIONS = "(examples: 90, 30s, 5min, 1h30m, 2 hours, 1d 12h)"

_KEYS = "(known: max-retries backoff-base backoff-max backoff-jitter job-timeout …"

_NAMES = "must be printable, without white space, comma or slash"

# The call, the command that the line names, and the message; … stands for the rest.
WRONG_USAGE: list[tuple[str, str, str]] = [
    # Commands and options
    ("statu", "queuectl", "no such command: statu (did you mean status?)"),
    ("enqeue true", "queuectl", "no such command: enqeue (did you mean enqueue?)"),
    ("frobnicate", "queuectl", "no such command: frobnicate (known: enqueue run schedule …"),
    (
        "help nothing",
        "queuectl help",
        "no such command or topic: nothing (queuectl help lists all)",
    ),
    ("worker strat", "queuectl worker", "no such command: strat (did you mean start?)"),
    ("worker frobnicate", "queuectl worker", "no such command: frobnicate (known: …"),
    ("dlq lst", "queuectl dlq", "no such command: lst (did you mean list?)"),
    ("config gte", "queuectl config", "no such command: gte (did you mean get?)"),
    ("--bogus", "queuectl", "no such option…"),
    ("-x", "queuectl", "no such option…"),
    ("--db", "queuectl", "option '--db' requires an argument"),
    ("status --bogus", "queuectl status", "no such option…"),
    ("status --db", "queuectl status", "option '--db' requires an argument"),
    ("worker --bogus", "queuectl worker", "no such option…"),
    ("worker start --bogus", "queuectl worker start", "no such option…"),
    ("dlq retry --bogus", "queuectl dlq retry", "no such option…"),
    ("dlq retry --queue", "queuectl dlq retry", "option '--queue' requires an argument"),
    ("config list --bogus", "queuectl config list", "no such option…"),
    ("web --behind-proxy", "queuectl web", "--behind-proxy requires --url"),
    (
        "web --listen 0.0.0.0:8377",
        "queuectl web",
        "other machines could connect, and the token would travel unencrypted"
        " (use ssh -L, --listen unix:PATH, or a proxy with TLS; else --allow-remote)",
    ),
    (
        "web --listen 8377",
        "queuectl web",
        "--listen 8377 is no address (examples: 127.0.0.1:8377, [::1]:8377, unix:PATH)",
    ),
    ("web --url ftp://x", "queuectl web", "--url ftp://x is no URL of a page (example: …"),
    ("web --allowed-host a/b", "queuectl web", "--allowed-host a/b is no name of a host …"),
    # Arguments too many or too few
    ("status extra", "queuectl status", "got unexpected extra argument (extra)"),
    ("list extra", "queuectl list", "got unexpected extra argument (extra)"),
    (
        "show a --state dead",
        "queuectl show",
        "job ids and --queue, --state or --all cannot be used together",
    ),
    ("logs -f a b", "queuectl logs", "--follow takes a single job"),
    ("logs -f --state dead", "queuectl logs", "--follow takes a single job"),
    ("logs a -", "queuectl logs", "- cannot be used with other ids: it reads them from stdin"),
    ("dlq list extra", "queuectl dlq list", "got unexpected extra argument (extra)"),
    ("worker start extra", "queuectl worker start", "got unexpected extra argument (extra)"),
    ("worker list extra", "queuectl worker list", "got unexpected extra argument (extra)"),
    ("config list extra", "queuectl config list", "got unexpected extra argument (extra)"),
    ("config get", "queuectl config get", "missing argument 'KEY'"),
    ("config set", "queuectl config set", "missing argument 'KEY'"),
    ("config set max-retries", "queuectl config set", "missing argument 'VALUE'"),
    ("config set max-retries 1 2", "queuectl config set", "got unexpected extra argument (2)"),
    ("config unset", "queuectl config unset", "missing argument 'KEY'"),
    ("completion", "queuectl completion", "missing argument 'SHELL'. Choose from: bash, zsh, …"),
    ("completion bash x", "queuectl completion", "got unexpected extra argument (x)"),
    ("show", "queuectl show", "no job given (give its id)"),
    ("logs", "queuectl logs", "no job given (give its id)"),
    ("why", "queuectl why", "no job given (give its id)"),
    # Values
    ("list --state faild", "queuectl list", "no such state: faild (did you mean failed?)"),
    ("list --state runningg", "queuectl list", "no such state: runningg (did you mean running?)"),
    ("list --state bogus", "queuectl list", "no such state: bogus (known: blocked scheduled …"),
    ("list --state failed,", "queuectl list", "no such state:  (known: blocked scheduled …"),
    ("list -n 0", "queuectl list", "--last must be a whole number from 1 to 1000000000, not '0'"),
    ("list -n x", "queuectl list", "--last must be a whole number from 1 to 1000000000, not 'x'"),
    ("list --queue a/b", "queuectl list", f"--queue {_NAMES}"),
    ("list --ids --json", "queuectl list", "--ids and --json cannot be used together"),
    ("dlq list --ids --json", "queuectl dlq list", "--ids and --json cannot be used together"),
    (
        "logs a -n -1",
        "queuectl logs",
        "--tail must be a whole number from 0 to 1000000000, not '-1'",
    ),
    (
        "logs a --attempt 0",
        "queuectl logs",
        "--attempt must be a whole number from 1 to 1000000000, not '0'",
    ),
    (
        "worker start -c 0",
        "queuectl worker start",
        "--count must be a whole number from 1 to 1000, not '0'",
    ),
    (
        "worker start -c 1001",
        "queuectl worker start",
        "--count must be a whole number from 1 to 1000, not '1001'",
    ),
    (
        "worker start -c many",
        "queuectl worker start",
        "--count must be a whole number from 1 to 1000, not 'many'",
    ),
    ("worker start --queue a/b", "queuectl worker start", f"--queue {_NAMES}"),
    (
        "worker start --max-jobs 0",
        "queuectl worker start",
        "--max-jobs must be a whole number from 1 to 1000000000, not '0'",
    ),
    (
        "worker start --max-runtime x",
        "queuectl worker start",
        f"--max-runtime: not a duration: 'x' {_DURATIONS}",
    ),
    (
        "worker stop --timeout x",
        "queuectl worker stop",
        f"--timeout: not a duration: 'x' {_DURATIONS}",
    ),
    ("worker stop --queue a/b", "queuectl worker stop", f"--queue {_NAMES}"),
    ("dlq purge --all", "queuectl dlq purge", "this deletes all dead jobs (confirm with --yes)"),
    ("completion tcsh", "queuectl completion", "invalid value for 'SHELL': 'tcsh' is not one …"),
    # Keys
    ("config set bogus 1", "queuectl config set", f"unknown key 'bogus' {_KEYS}"),
    (
        "config set max-retries x",
        "queuectl config set",
        "max-retries: not a whole number from 0 to 1000000: 'x'",
    ),
    (
        "config set max-retries -1",
        "queuectl config set",
        "max-retries: not a whole number from 0 to 1000000: '-1'",
    ),
    (
        "config set backoff-base 0",
        "queuectl config set",
        "backoff-base: not a number from 1 to 1000: '0'",
    ),
    (
        "config set backoff-base nan",
        "queuectl config set",
        "backoff-base: not a number from 1 to 1000: 'nan'",
    ),
    (
        "config set backoff-jitter 2",
        "queuectl config set",
        "backoff-jitter: not a number from 0 to 1: '2'",
    ),
    (
        "config set backoff-max soon",
        "queuectl config set",
        f"backoff-max: not a duration: 'soon' {_DURATIONS}",
    ),
    (
        "config set job-timeout -5",
        "queuectl config set",
        f"job-timeout: not a duration: '-5' {_DURATIONS}",
    ),
    (
        "config set kill-grace x",
        "queuectl config set",
        f"kill-grace: not a duration: 'x' {_DURATIONS}",
    ),
    (
        "config set output-limit 1",
        "queuectl config set",
        "output-limit: a size is 1 KiB to 1 TiB, not '1'",
    ),
    (
        "config set output-limit big",
        "queuectl config set",
        "output-limit: not a size: 'big' (use bytes, or 64KiB 10MiB 1GiB)",
    ),
    (
        "config set leftovers maybe",
        "queuectl config set",
        "leftovers: not one of keep, kill: 'maybe'",
    ),
    (
        "config set capture-env A-B",
        "queuectl config set",
        "capture-env: neither variable names nor *: 'A-B'",
    ),
]
