-- The files that several control planes share are kept in PostgreSQL only: here they
-- are in the data folder.
SELECT 1;
