-- A profile holds for one driver and one kind of cache too. SQLite changes no constraint in place.
CREATE TABLE keyed_profiles (
    id             BLOB    NOT NULL PRIMARY KEY,
    model          TEXT    NOT NULL,
    digest         TEXT    NOT NULL,
    engine_kind    INTEGER NOT NULL,
    engine_version TEXT    NOT NULL,
    gpu            TEXT    NOT NULL,
    driver         TEXT    NOT NULL,
    kv_type        TEXT    NOT NULL,
    swa_full       INTEGER NOT NULL,
    detail         BLOB    NOT NULL, -- caravan.v1.Profile
    measured       INTEGER NOT NULL,
    UNIQUE (model, digest, engine_kind, engine_version, gpu, driver, kv_type, swa_full)
) STRICT;

-- What was measured before told none of them.
INSERT INTO keyed_profiles
SELECT id, model, digest, engine_kind, engine_version, gpu, '', '', 0, detail, measured FROM profiles;

DROP TABLE profiles;
ALTER TABLE keyed_profiles RENAME TO profiles;
