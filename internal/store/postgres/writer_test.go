package postgres_test

const writerLocation = "TEST_STORE_WRITER"

func writeForEver(location string) error { return nil }
