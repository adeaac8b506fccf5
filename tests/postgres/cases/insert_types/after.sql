SELECT to_jsonb(line) - 'id' FROM insert_types AS line ORDER BY id;
