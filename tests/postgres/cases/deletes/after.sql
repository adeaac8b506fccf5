SELECT * FROM deletes ORDER BY a;
