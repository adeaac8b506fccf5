CREATE TABLE envelopes (id int PRIMARY KEY, name text, long text);
