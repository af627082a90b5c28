-- When a batch expires, if it does; whether it has, and is being ended; whether it stands paused once it
-- is planned; the batch that it retries, and which of its requests, a bit a kind.
ALTER TABLE batches ADD COLUMN deadline INTEGER;
ALTER TABLE batches ADD COLUMN expired INTEGER NOT NULL DEFAULT 0;
ALTER TABLE batches ADD COLUMN held INTEGER NOT NULL DEFAULT 0;
ALTER TABLE batches ADD COLUMN retried_from BLOB;
ALTER TABLE batches ADD COLUMN retry_kinds INTEGER NOT NULL DEFAULT 0;

-- For the upkeep of what is overdue.
CREATE INDEX batches_due ON batches (deadline) WHERE ended IS NULL AND deadline IS NOT NULL;
-- For the batches that retry one.
CREATE INDEX batches_retries ON batches (retried_from, id) WHERE retried_from IS NOT NULL;
