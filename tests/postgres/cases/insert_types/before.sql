CREATE TYPE mood AS ENUM ('sad', 'ok');
CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE TABLE insert_types (
  id int GENERATED ALWAYS AS IDENTITY, n numeric(30, 10), big bigint, f float8, b boolean, s text, v varchar(5), c char(3), raw bytea,
  d date, t time, ts timestamp, tz timestamptz, i interval, u uuid, j jsonb, js json, a int[], m text[][], e mood, p positive, ip inet,
  r int4range, "Odd ""name" text, twice numeric GENERATED ALWAYS AS (n * 2) STORED, untouched text DEFAULT 'default'
);
