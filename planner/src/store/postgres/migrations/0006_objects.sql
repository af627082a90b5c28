-- Which plan the chunks of a batch, and so their payloads, belong to: it may be planned by two replicas.
ALTER TABLE batches ADD COLUMN plan_key uuid;
