SELECT id, c1, c1599 FROM full_table ORDER BY id;
