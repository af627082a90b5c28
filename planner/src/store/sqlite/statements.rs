//! What SQLite is told in words of its own: which index to go down.

/// Binds: now. Queues the chunks of leases whose deadline has passed.
pub(super) const QUEUE_EXPIRED: &str = "
    UPDATE chunks SET state = 0
    WHERE state = 1 AND rowid IN (
        SELECT c.rowid FROM leases l
        CROSS JOIN chunks c ON c.batch = l.batch AND c.number = l.chunk AND c.epoch = l.epoch
        WHERE l.expired = 0 AND l.deadline <= $1)";

/// Binds: batch, numbers.
pub(super) const SEGMENTS_AT: &str = "
    SELECT * FROM segments
    WHERE batch = $1 AND number IN (SELECT value FROM json_each($2)) ORDER BY number";

/// Binds: limit.
pub(super) const UNCOMPACTED: &str = "
    SELECT c.* FROM batches b INDEXED BY batches_open
    CROSS JOIN chunks c ON c.batch = b.id AND c.state = 2 AND c.compacted IS NULL
    WHERE b.ended IS NULL ORDER BY b.id, c.number LIMIT $1";
