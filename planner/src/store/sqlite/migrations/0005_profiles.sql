-- A profile holds for one driver and one type of KV cache too. SQLite changes no constraint in place.
CREATE TABLE keyed_profiles (
    id             BLOB    NOT NULL PRIMARY KEY,
    model          TEXT    NOT NULL,
    digest         TEXT    NOT NULL,
    engine_kind    INTEGER NOT NULL,
    engine_version TEXT    NOT NULL,
    gpu            TEXT    NOT NULL,
    driver         TEXT    NOT NULL,
    kv_type        TEXT    NOT NULL,
    detail         BLOB    NOT NULL, -- caravan.v1.Profile
    measured       INTEGER NOT NULL,
    UNIQUE (model, digest, engine_kind, engine_version, gpu, driver, kv_type)
) STRICT;

-- What was measured before told neither.
INSERT INTO keyed_profiles
SELECT id, model, digest, engine_kind, engine_version, gpu, '', '', detail, measured FROM profiles;

DROP TABLE profiles;
ALTER TABLE keyed_profiles RENAME TO profiles;
