//! What SQLite is told in words of its own: which index to go down.

/// Binds: batch, numbers. The rows in which their segments stand: each the first at or behind one.
pub(super) const SEGMENTS_AT: &str = "
    SELECT number, id, bytes, pieces, earlier FROM segments
    WHERE batch = $1 AND number IN (
        SELECT (SELECT MIN(s.number) FROM segments s WHERE s.batch = $1 AND s.number >= wanted.value)
        FROM json_each($2) wanted)
    ORDER BY number";

/// Binds: batches, in hex.
pub(super) const REVISIONS: &str = "
    SELECT id, revision FROM batches WHERE id IN (SELECT UNHEX(value) FROM json_each($1))";

/// Binds: batch, numbers.
pub(super) const HOMES: &str = "
    SELECT number, model, size, done_count, done FROM chunks
    WHERE batch = $1 AND number IN (SELECT value FROM json_each($2))";

/// Binds: batch, numbers. A chunk that is done has no leases any more.
pub(super) const RELEASE: &str = "
    DELETE FROM leases WHERE batch = $1 AND chunk IN (SELECT value FROM json_each($2))";

/// Binds: limit.
pub(super) const UNCOMPACTED: &str = "
    SELECT c.batch, c.number, c.plan_group, c.size, c.done_count, c.done, c.segments, c.compacted, c.compacted_bytes,
           c.compacted_first_line
    FROM batches b INDEXED BY batches_open
    CROSS JOIN chunks c ON c.batch = b.id AND c.state = 2 AND c.compacted IS NULL
    WHERE b.ended IS NULL ORDER BY b.id, c.number LIMIT $1";

/// Binds: batch. Pins of models of which chunks are queued.
pub(super) const WAITING_PINS: &str = "
    SELECT p.model, p.digest FROM pins p
    WHERE p.batch = $1 AND EXISTS (
        SELECT 1 FROM chunks q INDEXED BY chunks_queued
        WHERE q.state = 0 AND q.batch = p.batch AND q.model = p.model)
    ORDER BY p.model";

/// Binds: batch, model. Whether it waits, or says of itself that it does, and the digest that it holds the model
/// to. No row if nothing of it may be leased.
pub(super) const JOIN_BATCH: &str = "
    SELECT state = 3 OR started IS NULL OR reason <> '' OR message <> '' AS waits,
           (SELECT p.digest FROM pins p WHERE p.batch = b.id AND p.model = $2) AS pinned
    FROM batches b WHERE id = $1 AND state IN (3, 4) AND provisional = 0";

/// Binds: batch.
pub(super) const OWN_BATCH: &str = "SELECT 1 FROM batches WHERE id = $1";

/// A statement in which `{pinned}` says of batch `b` and offer `w`, bound as [model, context, digest, pins],
/// that the batch is held to this digest, or to none yet and the offer may pin.
macro_rules! statement {
    ($before:literal {pinned} $after:literal) => {
        concat!(
            $before,
            " COALESCE((SELECT p.digest = w.value ->> 2 FROM pins p
                        WHERE p.batch = b.id AND p.model = w.value ->> 0), w.value ->> 3) ",
            $after
        )
    };
}

/// Binds: models, kind; batch, group and share that lanes are at; least priority; how many lanes.
pub(super) const NEXT_OF_SHARE: &str = statement!(
    "
    SELECT c.batch, c.number, c.model, c.plan_group, c.share
    FROM chunks c
    CROSS JOIN batches b ON b.id = c.batch AND b.state IN (3, 4) AND b.provisional = 0 AND b.priority >= $6
    CROSS JOIN json_each($1) w ON w.value ->> 0 = c.model AND (w.value ->> 1 = 0 OR w.value ->> 1 >= c.context)
    WHERE c.state = 0 AND c.batch = $3 AND c.plan_group = $4 AND c.share = $5 AND (c.kinds & $2) <> 0 AND"
    {pinned}
    "ORDER BY c.number LIMIT $7"
);

/// Binds: models, kind, least priority. One step down an index for each claimable batch and model; chunks that the
/// engine is too small for are passed over inside of the index.
pub(super) const HEAD_OF_SHARE: &str = statement!(
    "
    SELECT c.batch, c.number, c.model
    FROM batches b INDEXED BY batches_claimable
    CROSS JOIN json_each($1) w
    CROSS JOIN chunks c ON c.rowid = (
        SELECT q.rowid FROM chunks q INDEXED BY chunks_heads
        WHERE q.state = 0 AND q.share_head = 1 AND q.batch = b.id AND q.model = w.value ->> 0
          AND (q.kinds & $2) <> 0 AND (w.value ->> 1 = 0 OR w.value ->> 1 >= q.context)
        ORDER BY q.number LIMIT 1)
    WHERE b.state IN (3, 4) AND b.provisional = 0 AND b.priority >= $3 AND"
    {pinned}
    "ORDER BY b.priority DESC, b.id, c.number LIMIT 1"
);

/// Binds: models, kind. The highest priority that has anything queued.
pub(super) const HIGHEST_PRIORITY: &str = statement!(
    "
    SELECT b.priority
    FROM batches b INDEXED BY batches_claimable
    CROSS JOIN json_each($1) w
    WHERE b.state IN (3, 4) AND b.provisional = 0 AND"
    {pinned}
    "AND EXISTS (
        SELECT 1 FROM chunks q INDEXED BY chunks_queued
        WHERE q.state = 0 AND q.batch = b.id AND q.model = w.value ->> 0
          AND (q.kinds & $2) <> 0 AND (w.value ->> 1 = 0 OR w.value ->> 1 >= q.context))
    ORDER BY b.priority DESC, b.id LIMIT 1"
);

/// Binds: models, kind, least priority. As `HEAD_OF_SHARE`, from the tail: what is worth a theft, or
/// belongs to a share that no lane is at any more.
pub(super) const LAST_OF_ANY: &str = statement!(
    "
    SELECT c.batch, c.number, c.model
    FROM batches b INDEXED BY batches_claimable
    CROSS JOIN json_each($1) w
    CROSS JOIN chunks c ON c.rowid = (
        SELECT q.rowid FROM chunks q INDEXED BY chunks_queued
        WHERE q.state = 0 AND q.batch = b.id AND q.model = w.value ->> 0
          AND (q.kinds & $2) <> 0 AND (w.value ->> 1 = 0 OR w.value ->> 1 >= q.context)
          AND (q.stealable = 1 OR NOT EXISTS (
              SELECT 1 FROM leases l JOIN chunks o ON o.batch = l.batch AND o.number = l.chunk
              WHERE l.batch = q.batch AND l.expired = 0 AND o.plan_group = q.plan_group AND o.share = q.share))
        ORDER BY q.number DESC LIMIT 1)
    WHERE b.state IN (3, 4) AND b.provisional = 0 AND b.priority >= $3 AND"
    {pinned}
    "ORDER BY b.priority DESC, b.id, c.number DESC LIMIT 1"
);
