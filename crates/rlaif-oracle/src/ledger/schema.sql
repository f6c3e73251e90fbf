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
