SELECT * FROM deferred ORDER BY id;
