CREATE TABLE unavailable (id int PRIMARY KEY, v int, body text NOT NULL);
