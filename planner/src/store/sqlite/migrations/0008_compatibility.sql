-- Which planners can work on this schema: those that know at least this version of it. A migration that older
-- planners cannot bear raises it; one that only adds leaves it. One row.
CREATE TABLE compatibility (least_known INTEGER NOT NULL);
INSERT INTO compatibility (least_known) VALUES (8);
