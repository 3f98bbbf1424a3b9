package mariadb_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/springtide/springtide/internal/service/servicetest"
)

// TestDataOfAVersionThatIsGoneIsUpgraded has the package be replaced by that of
// another version: by the same server under another number, so what is tried is
// all that is done with the data, not whether two versions understand each other.
func TestDataOfAVersionThatIsGoneIsUpgraded(t *testing.T) {
	driver := usual
	old := servicetest.New(t, driver, spec)
	old.Create()
	old.Start()
	old.Settle()
	do(t, app(t, old), "CREATE TABLE colours AS SELECT 7 AS n")
	old.Stop()

	program, err := exec.LookPath("mariadbd")
	if err != nil {
		program = "/usr/sbin/mariadbd"
	}
	folder := servicetest.Folder(t)
	script := fmt.Sprintf("#!/bin/sh\ncase \"$*\" in *--version) echo 'mariadbd  Ver 11.4.2-MariaDB for Linux';; *) exec %s \"$@\";; esac\n", program)
	if err := os.WriteFile(filepath.Join(folder, "mariadbd"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", folder+":"+os.Getenv("PATH"))
	next := servicetest.New(t, driver, spec)
	if next.Version != "11.4" || driver.Create(t.Context(), old.Server) == nil {
		t.Fatalf("version %s is there, and the old one too", next.Version)
	}
	for range 2 {
		if err := driver.Upgrade(t.Context(), old.Server, next.Server); err != nil {
			t.Fatal(err)
		}
	}
	next.Start()
	next.Settle()
	if got := number(t, app(t, next), "SELECT n FROM colours"); got != 7 {
		t.Errorf("upgraded to %d", got)
	}
}
