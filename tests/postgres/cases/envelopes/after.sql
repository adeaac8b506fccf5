SELECT * FROM envelopes ORDER BY id;
