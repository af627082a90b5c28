-- Ids are UUIDv7 (so they sort by age), times microseconds since 1970 UTC,
-- states and kinds the numbers of the contract's enums, everything nested an encoded protobuf message.

CREATE TABLE files (
    id        UUID    NOT NULL PRIMARY KEY,
    upload_id TEXT    UNIQUE,
    filename  TEXT    NOT NULL,
    purpose   INT     NOT NULL,
    ready     INT     NOT NULL DEFAULT 0,
    size      BIGINT  NOT NULL DEFAULT 0,
    parts     BYTEA   NOT NULL DEFAULT '', -- Numbers: bytes of each part
    sha256    TEXT    NOT NULL DEFAULT '',
    created   BIGINT  NOT NULL
);

-- What moves while a batch runs. No reference to files: an input may go when its batch has ended.
CREATE TABLE batches (
    id                UUID    NOT NULL PRIMARY KEY,
    request_id        TEXT    UNIQUE,
    input             UUID    NOT NULL,
    priority          INT     NOT NULL,
    state             INT     NOT NULL,
    reason            TEXT    NOT NULL DEFAULT '',
    message           TEXT    NOT NULL DEFAULT '',
    total             BIGINT  NOT NULL DEFAULT 0,
    succeeded         BIGINT  NOT NULL DEFAULT 0,
    failed            BIGINT  NOT NULL DEFAULT 0,
    chunks            BIGINT  NOT NULL DEFAULT 0,
    chunks_done       BIGINT  NOT NULL DEFAULT 0,
    prompt_tokens     BIGINT  NOT NULL DEFAULT 0,
    prompt_basis      INT     NOT NULL DEFAULT 0,
    evaluated_tokens  BIGINT  NOT NULL DEFAULT 0,
    cached_tokens     BIGINT  NOT NULL DEFAULT 0,
    cache_basis       INT     NOT NULL DEFAULT 0,
    completion_tokens BIGINT  NOT NULL DEFAULT 0,
    next_segment      BIGINT  NOT NULL DEFAULT 0,
    provisional       INT     NOT NULL DEFAULT 0,
    output_file       UUID,
    error_file        UUID,
    created           BIGINT  NOT NULL,
    planned           BIGINT,
    started           BIGINT,
    last_commit       BIGINT,
    ended             BIGINT,
    revision          BIGINT  NOT NULL DEFAULT 1,
    CHECK (chunks_done <= chunks)
);

-- For claims: queued and running batches, best first.
CREATE INDEX batches_claimable ON batches (priority DESC, id) WHERE state IN (3, 4);
-- For the upkeep of what has not ended.
CREATE INDEX batches_open ON batches (id) WHERE ended IS NULL;
-- For the question whether a file is in use.
CREATE INDEX batches_input ON batches (input) WHERE ended IS NULL;

-- What stands still while a batch runs, apart so that a commit does not write it again.
CREATE TABLE batch_details (
    batch            UUID    NOT NULL PRIMARY KEY REFERENCES batches (id) ON DELETE CASCADE,
    spec             BYTEA   NOT NULL,             -- caravan.v1.Batch
    plan             BYTEA,                        -- caravan.v1.Plan
    line_errors      BYTEA   NOT NULL DEFAULT '', -- LineErrors
    line_error_count BIGINT  NOT NULL DEFAULT 0
);

CREATE TABLE chunks (
    batch                UUID    NOT NULL REFERENCES batches (id) ON DELETE CASCADE,
    number               INT     NOT NULL,
    plan_group           INT     NOT NULL,
    share                INT     NOT NULL,
    share_head           INT     NOT NULL,
    model                TEXT    NOT NULL,
    kinds                BIGINT  NOT NULL,
    context              BIGINT  NOT NULL,
    size                 INT     NOT NULL,
    state                INT     NOT NULL DEFAULT 0,   -- 0 queued, 1 leased, 2 done
    epoch                BIGINT  NOT NULL DEFAULT 0,   -- of the newest lease
    done_count           INT     NOT NULL DEFAULT 0,
    done                 BYTEA   NOT NULL,             -- a bit a request
    segments             BYTEA   NOT NULL DEFAULT '', -- Numbers: cursor numbers
    compacted            UUID,                         -- segment id
    compacted_bytes      BIGINT  NOT NULL DEFAULT 0,
    compacted_first_line BIGINT  NOT NULL DEFAULT 0,
    PRIMARY KEY (batch, number),
    CHECK (size > 0 AND done_count BETWEEN 0 AND size AND state IN (0, 1, 2)),
    CHECK ((state = 2) = (done_count = size))
);

-- For claims: each finds its chunk at the first entry that the engine qualifies for, and passes over
-- the others without reading their rows, for which the constant columns are there too.
CREATE INDEX chunks_warm ON chunks (batch, plan_group, share, number) WHERE state = 0;
CREATE INDEX chunks_heads ON chunks (batch, model, number, kinds, context, state, share_head)
    WHERE state = 0 AND share_head = 1;
CREATE INDEX chunks_queued ON chunks (batch, model, number, kinds, context, state) WHERE state = 0;
-- For compaction.
CREATE INDEX chunks_uncompacted ON chunks (batch, number) WHERE state = 2 AND compacted IS NULL;

CREATE TABLE leases (
    id       UUID    NOT NULL PRIMARY KEY,
    batch    UUID    NOT NULL,
    chunk    INT     NOT NULL,
    epoch    BIGINT  NOT NULL,
    executor UUID    NOT NULL,
    engine   TEXT    NOT NULL,
    lane     INT     NOT NULL,
    deadline BIGINT  NOT NULL,
    started  INT     NOT NULL DEFAULT 0,
    expired  INT     NOT NULL DEFAULT 0,
    FOREIGN KEY (batch, chunk) REFERENCES chunks (batch, number) ON DELETE CASCADE
);

CREATE INDEX leases_of_chunk ON leases (batch, chunk, expired);
CREATE INDEX leases_due ON leases (deadline) WHERE expired = 0;

CREATE TABLE segments (
    batch  UUID    NOT NULL REFERENCES batches (id) ON DELETE CASCADE,
    number BIGINT  NOT NULL,
    id     UUID    NOT NULL UNIQUE,
    bytes  BIGINT  NOT NULL,
    pieces BYTEA   NOT NULL, -- Pieces
    PRIMARY KEY (batch, number)
);

CREATE TABLE executors (
    id        UUID    NOT NULL PRIMARY KEY,
    detail    BYTEA   NOT NULL, -- caravan.v1.Executor
    last_seen BIGINT  NOT NULL
);

CREATE INDEX executors_seen ON executors (last_seen);

CREATE TABLE profiles (
    id             UUID    NOT NULL PRIMARY KEY,
    model          TEXT    NOT NULL,
    digest         TEXT    NOT NULL,
    engine_kind    INT     NOT NULL,
    engine_version TEXT    NOT NULL,
    gpu            TEXT    NOT NULL,
    detail         BYTEA   NOT NULL, -- caravan.v1.Profile
    measured       BIGINT  NOT NULL,
    UNIQUE (model, digest, engine_kind, engine_version, gpu)
);

-- A batch as the planner knows it. The count is of one batch's leases: at most its lanes.
CREATE VIEW whole_batches AS
SELECT b.*, d.spec, d.plan, d.line_errors, d.line_error_count,
       (SELECT COUNT(*) FROM leases l WHERE l.batch = b.id AND l.expired = 0) AS chunks_running
FROM batches b JOIN batch_details d ON d.batch = b.id;
