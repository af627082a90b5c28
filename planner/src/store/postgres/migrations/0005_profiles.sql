-- A profile holds for one driver and one kind of cache too. What was measured before told none of them.
ALTER TABLE profiles
    ADD COLUMN driver TEXT NOT NULL DEFAULT '',
    ADD COLUMN kv_type TEXT NOT NULL DEFAULT '',
    ADD COLUMN swa_full INT NOT NULL DEFAULT 0,
    DROP CONSTRAINT profiles_model_digest_engine_kind_engine_version_gpu_key,
    ADD CONSTRAINT profiles_holds_for
        UNIQUE (model, digest, engine_kind, engine_version, gpu, driver, kv_type, swa_full);
