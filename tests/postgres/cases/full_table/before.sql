DO $$ BEGIN
  EXECUTE (SELECT 'CREATE TABLE full_table (id int PRIMARY KEY, ' || string_agg('c' || n || ' int', ', ') || ')' FROM generate_series(1, 1599) n);
END $$;
