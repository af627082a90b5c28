-- When a batch expires, if it does; whether it has, and is being ended; whether it stands paused once it
-- is planned; the batch that it retries, and which of its requests, a bit a kind.
ALTER TABLE batches
    ADD COLUMN deadline BIGINT,
    ADD COLUMN expired INT NOT NULL DEFAULT 0,
    ADD COLUMN held INT NOT NULL DEFAULT 0,
    ADD COLUMN retried_from UUID,
    ADD COLUMN retry_kinds INT NOT NULL DEFAULT 0;

-- For the upkeep of what is overdue.
CREATE INDEX batches_due ON batches (deadline) WHERE ended IS NULL AND deadline IS NOT NULL;
-- For the batches that retry one.
CREATE INDEX batches_retries ON batches (retried_from, id) WHERE retried_from IS NOT NULL;

-- A view has the columns that there were when it was made.
DROP VIEW whole_batches;
CREATE VIEW whole_batches AS
SELECT b.*, d.spec, d.plan, d.line_errors, d.line_error_count,
       (SELECT COUNT(*) FROM leases l WHERE l.batch = b.id AND l.expired = 0) AS chunks_running,
       (SELECT COALESCE(json_agg(json_build_array(p.model, p.digest) ORDER BY p.model), '[]')::text
        FROM pins p WHERE p.batch = b.id) AS pins
FROM batches b JOIN batch_details d ON d.batch = b.id;
