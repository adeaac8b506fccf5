-- The lake of lake.yaml, for DuckDB: where do birds hit aircraft most often, and where is that? `duckdb -f configs/lake.sql`, after
--   INSTALL httpfs; INSTALL iceberg; LOAD iceberg;
--   CREATE PERSISTENT SECRET (TYPE s3, KEY_ID '...', SECRET '...', ENDPOINT '127.0.0.1:9000', URL_STYLE path, USE_SSL false);
SET VARIABLE lake = 's3://lake';

SELECT airport.iata, airport.city, count(*) AS strikes, round(avg(airport.latitude), 1) AS latitude
FROM iceberg_scan(getvariable('lake') || '/birds/strikes', allow_moved_paths = true) AS strike
JOIN read_parquet(getvariable('lake') || '/tables/lake.public.airports/*/*.parquet') AS airport
  -- The two write names differently: DALLAS/FORT WORTH INTL ARPT is Dallas-Fort Worth International.
  ON regexp_replace(strike."Airport Name", ' ARPT$', '') = replace(upper(replace(airport.name, 'International', 'Intl')), '-', '/')
GROUP BY ALL
ORDER BY strikes DESC
LIMIT 3;
