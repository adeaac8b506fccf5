SELECT id, v, body FROM unavailable ORDER BY id;
