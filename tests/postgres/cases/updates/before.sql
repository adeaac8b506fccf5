CREATE TABLE updates (id int PRIMARY KEY, a text, b text);
INSERT INTO updates VALUES (1, 'a', 'b'), (2, 'a', 'b');
