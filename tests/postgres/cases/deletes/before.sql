CREATE TABLE deletes (a int, b text, v int, PRIMARY KEY (a, b));
INSERT INTO deletes VALUES (1, 'x', 0), (2, 'x', 0);
