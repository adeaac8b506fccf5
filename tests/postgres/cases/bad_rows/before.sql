CREATE TABLE bad_rows (id int PRIMARY KEY, v int NOT NULL DEFAULT 5 CHECK (v >= 0));
