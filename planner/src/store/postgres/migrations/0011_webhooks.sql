-- Whose end is still to be told to a webhook: a row from the batch's creation on.
CREATE TABLE untold (
    batch    UUID    NOT NULL PRIMARY KEY REFERENCES batches (id) ON DELETE CASCADE,
    attempts INTEGER NOT NULL DEFAULT 0,
    due      BIGINT  NOT NULL DEFAULT 0  -- not before
);
