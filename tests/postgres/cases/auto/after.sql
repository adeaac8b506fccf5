SELECT column_name, data_type FROM information_schema.columns WHERE table_name = 'Auto tables' ORDER BY ordinal_position;
SELECT to_jsonb(t) FROM "Auto tables" t ORDER BY __connect_offset;
