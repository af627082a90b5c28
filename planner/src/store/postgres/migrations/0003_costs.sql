-- Whether a lane that is not warm for a chunk gains by taking it from one that is.
ALTER TABLE chunks ADD COLUMN stealable INT NOT NULL DEFAULT 1;

-- How long answers are, by model: of the tokens that requests allowed, how many came. Sums that halve
-- with each batch, so that the latest ones decide.
CREATE TABLE answers (
    model   TEXT    NOT NULL,
    stated  INT     NOT NULL, -- whether requests stated what they allow, or it was reserved for them
    allowed BIGINT  NOT NULL,
    given   BIGINT  NOT NULL,
    PRIMARY KEY (model, stated)
);
