-- What a tenant's batches used of a model on one day: a row that every commit adds to in its own transaction, and
-- that stays when they go. Nothing is known of what was committed before, nor by a planner of an earlier version
-- that still runs.
CREATE TABLE usage (
    tenant            TEXT    NOT NULL,
    day               TEXT    NOT NULL,  -- YYYY-MM-DD, of the database's time, in UTC
    model             TEXT    NOT NULL,
    succeeded         INTEGER NOT NULL,
    failed            INTEGER NOT NULL,
    prompt_tokens     INTEGER NOT NULL,
    prompt_basis      INTEGER NOT NULL,
    evaluated_tokens  INTEGER NOT NULL,
    cached_tokens     INTEGER NOT NULL,
    cache_basis       INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    PRIMARY KEY (tenant, day, model)
) STRICT, WITHOUT ROWID;
