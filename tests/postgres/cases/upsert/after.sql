SELECT * FROM upsert ORDER BY id;
