SELECT count(*), count(DISTINCT id), sum(v) FROM bad_rows;
SELECT * FROM bad_rows WHERE id = 199;
