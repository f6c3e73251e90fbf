-- What was asked and what came back. One row per reply that was paid for.
CREATE TABLE IF NOT EXISTS replies (
    digest            TEXT PRIMARY KEY,  -- SHA-256 of the whole request and of who was asked
    oracle            TEXT NOT NULL,     -- the Oracle's name in the recipe
    example           TEXT NOT NULL,     -- the row's id
    question          TEXT NOT NULL,
    shown             TEXT NOT NULL,     -- JSON: candidates in the order shown
    raw               TEXT NOT NULL,     -- the reply, word for word
    ranking           TEXT,              -- [2] > [1] = [3], numbered as shown; a score in brackets
    problem           TEXT,              -- why it is no ranking, where it is none
    prompt_tokens     INTEGER,
    completion_tokens INTEGER,
    cost              REAL NOT NULL,
    latency_seconds   REAL NOT NULL,
    created_at        INTEGER NOT NULL   -- seconds since 1970
) STRICT;
CREATE INDEX IF NOT EXISTS replies_by_oracle ON replies (oracle, example);

-- Groups that people are asked to put in order, one row each: a repeated run asks nobody twice.
CREATE TABLE IF NOT EXISTS tasks (
    digest     TEXT PRIMARY KEY,   -- SHA-256 of the conversation, the video and the candidates
    example    TEXT NOT NULL,      -- JSON: the row, its paths absolute
    candidates TEXT NOT NULL,      -- JSON: list of texts
    needed     INTEGER NOT NULL,   -- verdicts that are enough
    state      TEXT NOT NULL,      -- open; decided: a run has taken the verdicts; expired
    created_at REAL NOT NULL       -- seconds since 1970
) STRICT;
CREATE INDEX IF NOT EXISTS tasks_by_state ON tasks (state, created_at);
-- What they said. Rows are withdrawn and never deleted.
CREATE TABLE IF NOT EXISTS verdicts (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    task         TEXT NOT NULL REFERENCES tasks (digest),
    annotator    TEXT NOT NULL,
    shown        TEXT NOT NULL,    -- JSON: candidates, from 0, in the order shown
    ranking      TEXT,             -- [2] > [1] = [3], numbered as in tasks.candidates
    skipped      TEXT,             -- why there is none
    seconds      REAL NOT NULL,    -- from showing to the answer
    created_at   REAL NOT NULL,    -- seconds since 1970
    withdrawn_at REAL,             -- seconds since 1970
    CHECK ((ranking IS NULL) <> (skipped IS NULL))
) STRICT;
-- Nobody ranks a task twice.
CREATE UNIQUE INDEX IF NOT EXISTS one_verdict_each ON verdicts (task, annotator)
    WHERE withdrawn_at IS NULL;
