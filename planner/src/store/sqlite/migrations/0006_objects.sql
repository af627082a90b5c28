-- Which plan the chunks of a batch, and so their payloads, belong to: it may be planned by two replicas.
-- How long a batch is kept after its end, if that was said.
ALTER TABLE batches ADD COLUMN plan_key BLOB;
ALTER TABLE batches ADD COLUMN retention INTEGER;

-- For batches that are not to be kept any longer, and for the question whether an input is still read.
CREATE INDEX batches_ended ON batches (ended) WHERE ended IS NOT NULL;
CREATE INDEX batches_of_input ON batches (input);
-- For uploads that were given up.
CREATE INDEX files_open ON files (created) WHERE ready = 0;

-- Which database this is: objects are of one, and no other removes them.
CREATE TABLE identity (
    one INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    id  BLOB NOT NULL
);
