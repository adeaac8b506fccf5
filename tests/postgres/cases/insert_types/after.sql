SELECT to_jsonb(t) - 'id' FROM insert_types t ORDER BY id;
