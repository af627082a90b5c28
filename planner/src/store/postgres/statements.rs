//! What PostgreSQL is told in words of its own: which rows to hold, and whose to leave out.

/// Binds: batch, numbers. The rows in which their segments stand: each the first at or behind one.
pub(super) const SEGMENTS_AT: &str = "
    SELECT number, id, bytes, pieces, earlier FROM segments
    WHERE batch = $1 AND number IN (
        SELECT (SELECT MIN(s.number) FROM segments s WHERE s.batch = $1 AND s.number >= wanted)
        FROM UNNEST($2) wanted)
    ORDER BY number";

/// Binds: batches.
pub(super) const REVISIONS: &str = "SELECT id, revision FROM batches WHERE id = ANY ($1)";

/// Binds: batch, numbers. Looked up one by one, whatever is known of the table.
pub(super) const HOMES: &str = "
    SELECT c.number, c.model, c.size, c.done_count, c.done
    FROM (SELECT DISTINCT n FROM UNNEST($2) n) n JOIN chunks c ON c.batch = $1 AND c.number = n.n";

/// Binds: batch, numbers. A chunk that is done has no leases any more.
pub(super) const RELEASE: &str = "DELETE FROM leases WHERE batch = $1 AND chunk = ANY ($2)";

/// Binds: limit.
pub(super) const UNCOMPACTED: &str = "
    SELECT c.batch, c.number, c.plan_group, c.size, c.done_count, c.done, c.segments, c.compacted, c.compacted_bytes,
           c.compacted_first_line
    FROM batches b
    JOIN chunks c ON c.batch = b.id AND c.state = 2 AND c.compacted IS NULL
    WHERE b.ended IS NULL ORDER BY b.id, c.number LIMIT $1";

/// Binds: batch. Pins of models of which chunks are queued.
pub(super) const WAITING_PINS: &str = "
    SELECT p.model, p.digest FROM pins p
    WHERE p.batch = $1 AND EXISTS (
        SELECT 1 FROM chunks q WHERE q.state = 0 AND q.batch = p.batch AND q.model = p.model)
    ORDER BY p.model";

/// Binds: batch, model. Whether it waits, or says of itself that it does, and the digest that it holds the model
/// to. No row if nothing of it may be leased, or if somebody has it alone at the moment.
pub(super) const JOIN_BATCH: &str = "
    SELECT state = 3 OR started IS NULL OR reason <> '' OR message <> '' AS waits,
           (SELECT p.digest FROM pins p WHERE p.batch = b.id AND p.model = $2) AS pinned
    FROM batches b WHERE id = $1 AND state IN (3, 4) AND provisional = 0
    FOR KEY SHARE OF b SKIP LOCKED";

/// Binds: batch. No row if somebody has it at the moment.
pub(super) const OWN_BATCH: &str = "SELECT 1 FROM batches WHERE id = $1 FOR NO KEY UPDATE SKIP LOCKED";

/// A statement in which `{offers}` stands for the offers `w`, bound as an array of [model, context, digest, pins], and
/// `{pinned}` says of batch `b` and offer `w` that the batch is held to this digest, or to none yet and the
/// offer may pin.
macro_rules! statement {
    ($before:literal {offers} $between:literal {pinned} $after:literal) => {
        concat!(
            $before,
            " (SELECT o ->> 0 AS model, (o ->> 1)::bigint AS context, o ->> 2 AS digest, (o ->> 3)::boolean AS pins
               FROM jsonb_array_elements($1::jsonb) o) w ",
            $between,
            " COALESCE((SELECT p.digest = w.digest FROM pins p
                        WHERE p.batch = b.id AND p.model = w.model), w.pins) ",
            $after
        )
    };
}

/// Binds: models, kind, least priority; batches, groups and shares that lanes are at, and how many lanes at each.
pub(super) const NEXT_OF_SHARES: &str = statement!(
    "
    SELECT c.batch, c.number, c.model, c.plan_group, c.share
    FROM UNNEST($4::uuid[], $5::int[], $6::int[], $7::bigint[]) s (batch, plan_group, share, lanes)
    JOIN batches b ON b.id = s.batch AND b.state IN (3, 4) AND b.provisional = 0 AND b.priority >= $3
    CROSS JOIN"
    {offers}
    "CROSS JOIN LATERAL (
        SELECT q.batch, q.number, q.model, q.plan_group, q.share FROM chunks q
        WHERE q.state = 0 AND q.batch = s.batch AND q.plan_group = s.plan_group AND q.share = s.share
          AND q.model = w.model AND (q.kinds & $2) <> 0 AND (w.context = 0 OR w.context >= q.context)
        ORDER BY q.number LIMIT s.lanes FOR NO KEY UPDATE SKIP LOCKED) c
    WHERE"
    {pinned}
    "ORDER BY c.number"
);

/// Binds: models, kind, least priority. One step down an index for each claimable batch and model, then one for
/// the chunk that nobody else has at the moment.
pub(super) const HEAD_OF_SHARE: &str = statement!(
    "
    SELECT c.batch, c.number, c.model
    FROM (
        SELECT b.id, w.model, w.context
        FROM batches b
        CROSS JOIN"
    {offers}
    "CROSS JOIN LATERAL (
            SELECT q.number FROM chunks q
            WHERE q.state = 0 AND q.share_head = 1 AND q.batch = b.id AND q.model = w.model
              AND (q.kinds & $2) <> 0 AND (w.context = 0 OR w.context >= q.context)
            ORDER BY q.number LIMIT 1) c
        WHERE b.state IN (3, 4) AND b.provisional = 0 AND b.priority >= $3 AND"
    {pinned}
    "ORDER BY b.priority DESC, b.id, c.number LIMIT 1) w
    CROSS JOIN LATERAL (
        SELECT q.batch, q.number, q.model FROM chunks q
        WHERE q.state = 0 AND q.share_head = 1 AND q.batch = w.id AND q.model = w.model
          AND (q.kinds & $2) <> 0 AND (w.context = 0 OR w.context >= q.context)
        ORDER BY q.number LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED) c"
);

/// Binds: models, kind. The highest priority that has anything queued. From the tail: the heads are taken all the time,
/// and what was taken stays in the index for a while.
pub(super) const HIGHEST_PRIORITY: &str = statement!(
    "
    SELECT b.priority
    FROM batches b
    CROSS JOIN"
    {offers}
    "CROSS JOIN LATERAL (
        SELECT 1 FROM chunks q
        WHERE q.state = 0 AND q.batch = b.id AND q.model = w.model
          AND (q.kinds & $2) <> 0 AND (w.context = 0 OR w.context >= q.context)
        ORDER BY q.number DESC LIMIT 1) c
    WHERE b.state IN (3, 4) AND b.provisional = 0 AND"
    {pinned}
    "ORDER BY b.priority DESC, b.id LIMIT 1"
);

/// Binds: models, kind, least priority. As `HEAD_OF_SHARE`, from the tail: what is worth a theft, or
/// belongs to a share that no lane is at any more.
pub(super) const LAST_OF_ANY: &str = statement!(
    "
    SELECT c.batch, c.number, c.model
    FROM (
        SELECT b.id, w.model, w.context
        FROM batches b
        CROSS JOIN"
    {offers}
    "CROSS JOIN LATERAL (
            SELECT q.number FROM chunks q
            WHERE q.state = 0 AND q.batch = b.id AND q.model = w.model
              AND (q.kinds & $2) <> 0 AND (w.context = 0 OR w.context >= q.context)
              AND (q.stealable = 1 OR NOT EXISTS (
                  SELECT 1 FROM leases l JOIN chunks o ON o.batch = l.batch AND o.number = l.chunk
                  WHERE l.batch = q.batch AND l.expired = 0 AND o.plan_group = q.plan_group AND o.share = q.share))
            ORDER BY q.number DESC LIMIT 1) c
        WHERE b.state IN (3, 4) AND b.provisional = 0 AND b.priority >= $3 AND"
    {pinned}
    "ORDER BY b.priority DESC, b.id, c.number DESC LIMIT 1) w
    CROSS JOIN LATERAL (
        SELECT q.batch, q.number, q.model FROM chunks q
        WHERE q.state = 0 AND q.batch = w.id AND q.model = w.model
          AND (q.kinds & $2) <> 0 AND (w.context = 0 OR w.context >= q.context)
          AND (q.stealable = 1 OR NOT EXISTS (
              SELECT 1 FROM leases l JOIN chunks o ON o.batch = l.batch AND o.number = l.chunk
              WHERE l.batch = q.batch AND l.expired = 0 AND o.plan_group = q.plan_group AND o.share = q.share))
        ORDER BY q.number DESC LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED) c"
);
