-- Prompt tokens of a plan, each request counted alone: for what a tenant may have queued. A batch that was planned
-- before this counts none.
ALTER TABLE batches ADD COLUMN planned_tokens INTEGER NOT NULL DEFAULT 0;
