package postgres_test

import (
	"bytes"
	"os"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/springtide/springtide/internal/service"
	"github.com/springtide/springtide/internal/service/postgres"
	"github.com/springtide/springtide/internal/service/servicetest"
)

// BenchmarkCreate makes an empty primary, synced, on the disk.
func BenchmarkCreate(b *testing.B) {
	os.Setenv("TMPDIR", "/tmp")
	driver := postgres.New(postgres.Options{})
	for b.Loop() {
		servicetest.New(b, driver, spec()).Create()
	}
}

// BenchmarkBackupAndRestore copies a database of 100 MB out and in again.
func BenchmarkBackupAndRestore(b *testing.B) {
	os.Setenv("TMPDIR", "/tmp")
	driver := postgres.New(postgres.Options{})
	server := servicetest.New(b, driver, spec())
	server.Create()
	server.Start()
	server.Settle()
	err := connected(b.Context(), server.URL(), func(conn *pgx.Conn) error {
		_, err := conn.Exec(b.Context(), "create table lines as select n, repeat(md5(n::text), 10) from generate_series(1, 280000) n")
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	var backup bytes.Buffer
	b.Run("backup", func(b *testing.B) {
		for b.Loop() {
			backup.Reset()
			if _, err := driver.Backup(b.Context(), server.Server, &backup); err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(backup.Len()))
		}
	})
	b.Run("restore", func(b *testing.B) {
		for b.Loop() {
			other := servicetest.New(b, driver, spec())
			if err := driver.Restore(b.Context(), other.Server, bytes.NewReader(backup.Bytes()), service.RestoreTo{}); err != nil {
				b.Fatal(err)
			}
		}
		b.SetBytes(int64(backup.Len()))
	})
}
