-- Any program may put a ticket on the queue: INSERT INTO tasks (body) VALUES ('PROJ-123');
-- `body` is a ticket's key or a whole task in JSON; everything else has a default.
CREATE TABLE tasks (
    -- The oldest number is handed out first.
    number          INTEGER PRIMARY KEY AUTOINCREMENT,
    body            ANY     NOT NULL,
    message_id      TEXT,
    -- ready, held (a worker has it), delayed (until due_at), dead (waits for a person).
    state           TEXT    NOT NULL DEFAULT 'ready' CHECK (state IN ('ready', 'held', 'delayed', 'dead')),
    attempt         INTEGER NOT NULL DEFAULT 1,
    waits           INTEGER NOT NULL DEFAULT 0,
    crashes         INTEGER NOT NULL DEFAULT 0,
    -- How many workers died while they held it, since it was last settled.
    delivery_count  INTEGER NOT NULL DEFAULT 0,
    redelivered     INTEGER NOT NULL DEFAULT 0,
    first_published TEXT    DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    traceparent     TEXT,
    replayed_by     TEXT,
    -- Milliseconds since 1970, of what is delayed.
    due_at          INTEGER,
    -- Of what is held: whose, and the one hand-over that may settle it.
    owner           TEXT,
    token           TEXT,
    reason          TEXT,
    step            TEXT,
    died_at         TEXT
) STRICT;
-- One for all states: what is taken moves by one place in it, within a page. Of one state, the oldest is the first.
CREATE INDEX tasks_state ON tasks (state);
CREATE INDEX tasks_delayed ON tasks (due_at) WHERE state = 'delayed';

-- Processes that hold tasks or leases, each with the time (milliseconds since 1970) until which its word is good.
CREATE TABLE owners (
    id       TEXT    PRIMARY KEY,
    deadline INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The right to work on a ticket.
CREATE TABLE leases (
    key   TEXT PRIMARY KEY,
    owner TEXT NOT NULL,
    token TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- What happened to runs, the newest 100 000 and up to 1000 more.
CREATE TABLE events (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    body   TEXT    NOT NULL
) STRICT;

-- Orders to workers that listen now; kept for a minute.
CREATE TABLE orders (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    body   TEXT    NOT NULL,
    at     INTEGER NOT NULL
) STRICT;
