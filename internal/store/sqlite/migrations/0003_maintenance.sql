ALTER TABLE environments ADD COLUMN maintenance TEXT NOT NULL DEFAULT 'null'; -- JSON: *Maintenance
