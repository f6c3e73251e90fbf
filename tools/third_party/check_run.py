"""Checks what two runs of the same recipe left, the second on the ledger of the first.

    python check_run.py FIRST SECOND LEDGER SERVER_LOG ANSWERED_BEFORE ANSWERED_BETWEEN

FIRST and SECOND are run folders. ANSWERED_BEFORE and ANSWERED_BETWEEN are the chats that the server had
answered, by its own log, before the first run and before the second. Prints one JSON object and the name of
every check that fails; exits with 0 where none does.
"""

import collections
import hashlib
import json
import pathlib
import sqlite3
import sys

CHAT = '"POST /v1/chat/completions'


def answered(log):
    """(chats that the server took, those it answered with 200), by its access log."""
    lines = [line for line in pathlib.Path(log).read_text().splitlines() if CHAT in line]
    return len(lines), sum(line.rstrip().endswith("200 OK") for line in lines)


def sums(run):
    """All numbers of a run's steps, added up; a name that no step logs is absent."""
    total = collections.Counter()
    for line in (pathlib.Path(run) / "metrics.jsonl").read_text().splitlines():
        for name, value in json.loads(line).items():
            if name.startswith("oracle/") and isinstance(value, (int, float)):
                total[name] += value
    return dict(total)


def weights(run):
    path = pathlib.Path(run) / "model.safetensors"
    return hashlib.sha256(path.read_bytes()).hexdigest()


def replies(ledger):
    """(replies, those that were understood) in the ledger."""
    connection = sqlite3.connect(f"file:{ledger}?mode=ro", uri=True)
    return connection.execute("SELECT count(*), count(ranking) FROM replies").fetchone()


def main():
    first, second, ledger, log = sys.argv[1:5]
    before, between = (int(count) for count in sys.argv[5:7])
    one, two = sums(first), sums(second)
    stored, understood = replies(ledger)
    taken, fine = answered(log)
    asked = one.get("oracle/requests", 0)
    checks = {
        "the first run ranked groups": one.get("oracle/ranked", 0) > 0,
        "no group of the first run failed": one.get("oracle/failed") == 0,
        "the first run asked the server": asked > 0,
        "the server saw each request once": between - before == asked,
        "the server answered every chat with 200": taken == fine,
        "the ledger holds every reply": stored == asked,
        "the ledger understood every reply": understood == stored,
        "no group of the second run failed": two.get("oracle/failed") == 0,
        "the second run ranked what the first did": two.get("oracle/ranked") == one.get("oracle/ranked"),
        "the second run asked nobody": "oracle/requests" not in two,
        "the second run read the ledger instead": two.get("oracle/cached", 0)
        == asked + one.get("oracle/cached", 0),
        "nothing reached the server in the second run": taken == between,
        "both runs end with the same weights": weights(first) == weights(second),
    }
    report = {
        "groups": one.get("oracle/groups"),
        "ranked": one.get("oracle/ranked"),
        "requests": asked,
        "prompt_tokens": one.get("oracle/prompt_tokens"),
        "completion_tokens": one.get("oracle/completion_tokens"),
        "in_ledger": stored,
        "second_run_cached": two.get("oracle/cached"),
        "checks": len(checks),
    }
    print(json.dumps(report))
    failed = [name for name, holds in checks.items() if not holds]
    for name in failed:
        print(f"FAILED: {name}", file=sys.stderr)
    if failed:
        print(json.dumps({"first": one, "second": two}), file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
