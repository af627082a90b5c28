-- Prompt tokens of a planned request on the average, rounded up: for what a tenant may have queued. A batch that was
-- planned before this counts none.
ALTER TABLE batches ADD COLUMN request_tokens BIGINT NOT NULL DEFAULT 0;

-- What a tenant has under way, however many batches of it are kept.
CREATE INDEX batches_under_way ON batches (tenant) WHERE ended IS NULL;
