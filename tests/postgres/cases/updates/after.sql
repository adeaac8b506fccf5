SELECT * FROM updates ORDER BY id;
