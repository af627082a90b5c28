-- Read when a batch is planned or shown, and too long to be read with every look at it.
ALTER TABLE batch_details ADD COLUMN defaults TEXT NOT NULL DEFAULT '';
