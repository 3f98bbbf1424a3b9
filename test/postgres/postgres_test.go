package postgres

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// beServer has the test binary run a server until it is killed.
const beServer = "POSTGRES_TEST_FOLDER"

func TestMain(m *testing.M) {
	folder := os.Getenv(beServer)
	if folder == "" {
		os.Exit(m.Run())
	}
	cluster, err := New(folder, Options{})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(cluster.PID())
	select {}
}

func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	connection, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { connection.Close(t.Context()) })
	return connection
}

func TestWhatWasCommittedSurvivesEveryKindOfEnd(t *testing.T) {
	server := Start(t)
	if _, err := connect(t, server.URL("Some base")).Exec(t.Context(), "create table kept (n int)"); err != nil {
		t.Fatal(err)
	}
	ends := []func(){
		func() { server.Restart(Fast) },
		func() { server.Restart(Immediate) },
		func() { server.Kill(); server.Start() },
		func() { server.Stop(); server.Start() },
	}
	for n, end := range ends {
		connection := connect(t, server.URL("Some base"))
		if _, err := connection.Exec(t.Context(), "insert into kept values ($1)", n); err != nil {
			t.Fatal(err)
		}
		end()
		if err := connection.Ping(t.Context()); err == nil {
			t.Error("a connection outlived the server")
		}
		var count int
		if err := connect(t, server.URL("Some base")).QueryRow(t.Context(), "select count(*) from kept").Scan(&count); err != nil || count != n+1 {
			t.Errorf("%d rows of %d: %v", count, n+1, err)
		}
	}
}

func TestTheClockOfAServerFollowsItsFileBackAndForth(t *testing.T) {
	folder := t.TempDir()
	file := filepath.Join(folder, "clock")
	for _, open := range []string{folder, filepath.Dir(folder)} {
		if err := os.Chmod(open, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	set := func(text string) {
		t.Helper()
		if err := os.WriteFile(file+".new", []byte(text+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file+".new", file); err != nil {
			t.Fatal(err)
		}
	}
	set("+0s")
	server := Start(t, Options{Faketime: file})
	connection := connect(t, server.URL("postgres"))
	for _, offset := range []time.Duration{0, time.Hour, -time.Hour, 48 * time.Hour, 5 * time.Second, 0} {
		set(fmt.Sprintf("%+ds", int(offset.Seconds())))
		for range 20 {
			var now time.Time
			asked := time.Now()
			if err := connection.QueryRow(t.Context(), "select clock_timestamp()").Scan(&now); err != nil {
				t.Fatal(err)
			}
			const most = 2 * time.Second
			if now = now.Add(-offset); now.Before(asked.Add(-most)) || now.After(time.Now().Add(most)) {
				t.Fatalf("the server's clock is %s off from one that is %s ahead", now.Sub(asked), offset)
			}
		}
		connect(t, server.URL("postgres")) // its first process lives on as well
	}
	server.Kill()
	server.Start()
}

func TestNoServerOutlivesTheProcessThatStartedIt(t *testing.T) {
	folder, err := os.MkdirTemp("", "postgres-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(folder) })
	if err := os.Chmod(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	own, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	command := exec.Command(own)
	command.Env = append(os.Environ(), beServer+"="+folder)
	command.Stderr = os.Stderr
	stdout, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	command.Process.Kill()
	command.Wait()
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(startLimit); alive(pid); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("process %d outlived the one that started it", pid)
		}
	}
}
