-- The digest that a model of a batch is held to: set by its first lease, and never changed.
CREATE TABLE pins (
    batch  UUID    NOT NULL REFERENCES batches (id) ON DELETE CASCADE,
    model  TEXT    NOT NULL, -- as in chunks
    digest TEXT    NOT NULL, -- empty: of engines that tell none
    PRIMARY KEY (batch, model)
);

-- Digests that engines made of uploaded files: they may rewrite a file before they keep it.
CREATE TABLE imports (
    sha256 TEXT    NOT NULL,
    digest TEXT    NOT NULL,
    PRIMARY KEY (sha256, digest)
);

-- A model has one name here, so that it is pinned once.
UPDATE chunks SET model = substr(model, 1, length(model) - length(':latest')) WHERE model LIKE '%:latest';

DROP VIEW whole_batches;
CREATE VIEW whole_batches AS
SELECT b.*, d.spec, d.plan, d.line_errors, d.line_error_count,
       (SELECT COUNT(*) FROM leases l WHERE l.batch = b.id AND l.expired = 0) AS chunks_running,
       (SELECT COALESCE(json_agg(json_build_array(p.model, p.digest) ORDER BY p.model), '[]')::text
        FROM pins p WHERE p.batch = b.id) AS pins
FROM batches b JOIN batch_details d ON d.batch = b.id;
