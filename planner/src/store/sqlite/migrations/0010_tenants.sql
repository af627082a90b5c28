-- Whose a file or a batch is. What was there before belongs to the tenant of those whom nobody asks who they are.
-- An upload_id and a request_id are the tenant's own: those of any other tenant stand in their columns behind
-- its name and a unit separator (U+001F), which neither may hold.
ALTER TABLE files ADD COLUMN tenant TEXT NOT NULL DEFAULT 'default';
ALTER TABLE batches ADD COLUMN tenant TEXT NOT NULL DEFAULT 'default';

-- For lists, newest first.
CREATE INDEX files_of_tenant ON files (tenant, id);
CREATE INDEX batches_of_tenant ON batches (tenant, id);

-- API keys. Of the key itself only a hash is kept: it is random, so that nothing is gained from a slow one.
CREATE TABLE keys (
    id        BLOB    NOT NULL PRIMARY KEY,
    prefix    TEXT    NOT NULL,          -- how the key begins
    sha256    BLOB    NOT NULL UNIQUE,   -- of the whole key
    tenant    TEXT    NOT NULL,
    roles     INTEGER NOT NULL,          -- a bit a caravan.v1.Role
    name      TEXT    NOT NULL,
    created   INTEGER NOT NULL,
    last_used INTEGER,                   -- to the hour
    expires   INTEGER,
    revoked   INTEGER
) STRICT;

CREATE INDEX keys_of_tenant ON keys (tenant, id);

-- Who does not know of tenants would show everybody everything.
UPDATE compatibility SET least_known = 10;
