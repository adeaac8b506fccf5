SELECT id, v, later FROM bad_keys ORDER BY id;
