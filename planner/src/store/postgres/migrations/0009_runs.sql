-- A slow batch commits a segment for nearly every request. Their rows are put together: one holds those that
-- came before it too. Where the segments begin that still have rows of their own, and the pieces of those.
ALTER TABLE segments ADD COLUMN earlier BYTEA NOT NULL DEFAULT ''; -- Run
ALTER TABLE batches
    ADD COLUMN loose_from BIGINT NOT NULL DEFAULT 0,
    ADD COLUMN loose_pieces BIGINT NOT NULL DEFAULT 0;

-- What a batch that runs has so far stays as it is.
UPDATE batches SET loose_from = next_segment;

-- Who does not know of this would find only the last segment of such a row.
UPDATE compatibility SET least_known = 9;
