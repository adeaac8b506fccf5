CREATE TABLE upsert (id int PRIMARY KEY, name text, hits int DEFAULT 7, email text UNIQUE);
INSERT INTO upsert VALUES (1, 'old', 1, 'one@x'), (2, 'kept', 2, 'two@x');
