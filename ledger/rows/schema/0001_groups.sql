-- One row for each group of work. docs/ledger-database.md explains each column.
--
-- A change of the tables is a new file with the next number, never a change of this file. Each file
-- ends with its number in gridlatch_schema. psql --single-transaction --file can apply a file, too.

CREATE TABLE gridlatch_schema (
    version integer PRIMARY KEY,
    applied timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE gridlatch_groups (
    uid            text PRIMARY KEY,
    kind           text NOT NULL,
    namespace      text NOT NULL,
    name           text NOT NULL,
    owner          text NOT NULL,
    policy         text NOT NULL,
    mode           text NOT NULL,
    source         text NOT NULL,
    location       text NOT NULL,
    other_location text NOT NULL,
    arrived        timestamptz NOT NULL,
    latest_start   timestamptz,
    released       timestamptz NOT NULL,
    ended          timestamptz NOT NULL,
    seen_end       boolean NOT NULL,
    wait_seconds   double precision NOT NULL,
    failed         boolean NOT NULL,
    energy         text NOT NULL,
    units          double precision,
    embodied_grams double precision,
    core_hours     double precision,
    steps          jsonb NOT NULL,
    joules         double precision,
    failed_joules  double precision,
    grams          double precision,
    failed_grams   double precision,
    other_grams    double precision,
    oracle_grams   double precision,
    -- With Audit, the other run is the one that Gridlatch would have chosen.
    saved_grams    double precision GENERATED ALWAYS AS
        (CASE WHEN mode = 'Audit' THEN grams - other_grams ELSE other_grams - grams END) STORED,
    hash           text NOT NULL,
    first_booked   timestamptz NOT NULL DEFAULT now(),
    revised        timestamptz
);

CREATE INDEX gridlatch_groups_ended ON gridlatch_groups (ended, uid);

INSERT INTO gridlatch_schema (version) VALUES (1);
