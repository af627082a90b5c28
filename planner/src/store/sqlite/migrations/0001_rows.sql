-- Ids are the 16 bytes of a UUIDv7 (so they sort by age), times microseconds since 1970 UTC,
-- states and kinds the numbers of the contract's enums, everything nested an encoded protobuf message.

CREATE TABLE files (
    id        BLOB    NOT NULL PRIMARY KEY,
    upload_id TEXT    UNIQUE,
    filename  TEXT    NOT NULL,
    purpose   INTEGER NOT NULL,
    ready     INTEGER NOT NULL DEFAULT 0,
    size      INTEGER NOT NULL DEFAULT 0,
    parts     BLOB    NOT NULL DEFAULT x'', -- Numbers: bytes of each part
    sha256    TEXT    NOT NULL DEFAULT '',
    created   INTEGER NOT NULL
) STRICT;

-- What moves while a batch runs. No reference to files: an input may go when its batch has ended.
CREATE TABLE batches (
    id                BLOB    NOT NULL PRIMARY KEY,
    request_id        TEXT    UNIQUE,
    input             BLOB    NOT NULL,
    priority          INTEGER NOT NULL,
    state             INTEGER NOT NULL,
    reason            TEXT    NOT NULL DEFAULT '',
    message           TEXT    NOT NULL DEFAULT '',
    total             INTEGER NOT NULL DEFAULT 0,
    succeeded         INTEGER NOT NULL DEFAULT 0,
    failed            INTEGER NOT NULL DEFAULT 0,
    chunks            INTEGER NOT NULL DEFAULT 0,
    chunks_done       INTEGER NOT NULL DEFAULT 0,
    prompt_tokens     INTEGER NOT NULL DEFAULT 0,
    prompt_basis      INTEGER NOT NULL DEFAULT 0,
    evaluated_tokens  INTEGER NOT NULL DEFAULT 0,
    cached_tokens     INTEGER NOT NULL DEFAULT 0,
    cache_basis       INTEGER NOT NULL DEFAULT 0,
    completion_tokens INTEGER NOT NULL DEFAULT 0,
    next_segment      INTEGER NOT NULL DEFAULT 0,
    provisional       INTEGER NOT NULL DEFAULT 0,
    output_file       BLOB,
    error_file        BLOB,
    created           INTEGER NOT NULL,
    planned           INTEGER,
    started           INTEGER,
    last_commit       INTEGER,
    ended             INTEGER,
    revision          INTEGER NOT NULL DEFAULT 1,
    CHECK (chunks_done <= chunks)
) STRICT;

-- For claims: queued and running batches, best first.
CREATE INDEX batches_claimable ON batches (priority DESC, id) WHERE state IN (3, 4);
-- For the upkeep of what has not ended.
CREATE INDEX batches_open ON batches (id) WHERE ended IS NULL;
-- For the question whether a file is in use.
CREATE INDEX batches_input ON batches (input) WHERE ended IS NULL;

-- What stands still while a batch runs, apart so that a commit does not write it again.
CREATE TABLE batch_details (
    batch            BLOB    NOT NULL PRIMARY KEY REFERENCES batches (id) ON DELETE CASCADE,
    spec             BLOB    NOT NULL,             -- caravan.v1.Batch
    plan             BLOB,                         -- caravan.v1.Plan
    line_errors      BLOB    NOT NULL DEFAULT x'', -- LineErrors
    line_error_count INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE chunks (
    batch                BLOB    NOT NULL REFERENCES batches (id) ON DELETE CASCADE,
    number               INTEGER NOT NULL,
    plan_group           INTEGER NOT NULL,
    share                INTEGER NOT NULL,
    share_head           INTEGER NOT NULL,
    model                TEXT    NOT NULL,
    kinds                INTEGER NOT NULL,
    context              INTEGER NOT NULL,
    size                 INTEGER NOT NULL,
    state                INTEGER NOT NULL DEFAULT 0,   -- 0 queued, 1 leased, 2 done
    epoch                INTEGER NOT NULL DEFAULT 0,   -- of the newest lease
    done_count           INTEGER NOT NULL DEFAULT 0,
    done                 BLOB    NOT NULL,             -- a bit a request
    segments             BLOB    NOT NULL DEFAULT x'', -- Numbers: cursor numbers
    compacted            BLOB,                         -- segment id
    compacted_bytes      INTEGER NOT NULL DEFAULT 0,
    compacted_first_line INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (batch, number),
    CHECK (size > 0 AND done_count BETWEEN 0 AND size AND state IN (0, 1, 2)),
    CHECK ((state = 2) = (done_count = size))
) STRICT;

-- For claims: each finds its chunk at the first entry that the engine qualifies for, and passes over
-- the others without reading their rows, for which the constant columns are there too.
CREATE INDEX chunks_warm ON chunks (batch, plan_group, share, number) WHERE state = 0;
CREATE INDEX chunks_heads ON chunks (batch, model, number, kinds, context, state, share_head)
    WHERE state = 0 AND share_head = 1;
CREATE INDEX chunks_queued ON chunks (batch, model, number, kinds, context, state) WHERE state = 0;
-- For compaction.
CREATE INDEX chunks_uncompacted ON chunks (batch, number) WHERE state = 2 AND compacted IS NULL;

CREATE TABLE leases (
    id       BLOB    NOT NULL PRIMARY KEY,
    batch    BLOB    NOT NULL,
    chunk    INTEGER NOT NULL,
    epoch    INTEGER NOT NULL,
    executor BLOB    NOT NULL,
    engine   TEXT    NOT NULL,
    lane     INTEGER NOT NULL,
    deadline INTEGER NOT NULL,
    started  INTEGER NOT NULL DEFAULT 0,
    expired  INTEGER NOT NULL DEFAULT 0,
    FOREIGN KEY (batch, chunk) REFERENCES chunks (batch, number) ON DELETE CASCADE
) STRICT;

CREATE INDEX leases_of_chunk ON leases (batch, chunk, expired);
CREATE INDEX leases_due ON leases (deadline) WHERE expired = 0;

CREATE TABLE segments (
    batch  BLOB    NOT NULL REFERENCES batches (id) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    id     BLOB    NOT NULL UNIQUE,
    bytes  INTEGER NOT NULL,
    pieces BLOB    NOT NULL, -- Pieces
    PRIMARY KEY (batch, number)
) STRICT;

CREATE TABLE executors (
    id        BLOB    NOT NULL PRIMARY KEY,
    detail    BLOB    NOT NULL, -- caravan.v1.Executor
    last_seen INTEGER NOT NULL
) STRICT;

CREATE INDEX executors_seen ON executors (last_seen);

CREATE TABLE profiles (
    id             BLOB    NOT NULL PRIMARY KEY,
    model          TEXT    NOT NULL,
    digest         TEXT    NOT NULL,
    engine_kind    INTEGER NOT NULL,
    engine_version TEXT    NOT NULL,
    gpu            TEXT    NOT NULL,
    detail         BLOB    NOT NULL, -- caravan.v1.Profile
    measured       INTEGER NOT NULL,
    UNIQUE (model, digest, engine_kind, engine_version, gpu)
) STRICT;

-- A batch as the planner knows it. The count is of one batch's leases: at most its lanes.
CREATE VIEW whole_batches AS
SELECT b.*, d.spec, d.plan, d.line_errors, d.line_error_count,
       (SELECT COUNT(*) FROM leases l WHERE l.batch = b.id AND l.expired = 0) AS chunks_running
FROM batches b JOIN batch_details d ON d.batch = b.id;
