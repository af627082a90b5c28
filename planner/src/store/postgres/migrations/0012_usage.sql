-- What a tenant's batches used of a model on one day: a row that every commit adds to in its own transaction, and
-- that stays when they go. Nothing is known of what was committed before, nor by a planner of an earlier version
-- that still runs.
CREATE TABLE usage (
    tenant            TEXT COLLATE "C" NOT NULL,
    day               TEXT COLLATE "C" NOT NULL,  -- YYYY-MM-DD, of the database's time, in UTC
    model             TEXT COLLATE "C" NOT NULL,
    succeeded         BIGINT           NOT NULL,
    failed            BIGINT           NOT NULL,
    prompt_tokens     BIGINT           NOT NULL,
    prompt_basis      INTEGER          NOT NULL,
    evaluated_tokens  BIGINT           NOT NULL,
    cached_tokens     BIGINT           NOT NULL,
    cache_basis       INTEGER          NOT NULL,
    completion_tokens BIGINT           NOT NULL,
    PRIMARY KEY (tenant, day, model)
);
