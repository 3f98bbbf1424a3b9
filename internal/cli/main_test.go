package cli

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/api/apitest"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestMain makes the test binary the tide command of the scripts: with a
// platform in memory behind `tide serve` and `tide up`.
func TestMain(m *testing.M) {
	if err := os.Setenv("TZ", "UTC"); err != nil { // goldens show times of day
		panic(err)
	}
	testscript.Main(m, map[string]func(){"tide": func() {
		command := New(Program{
			Version:   "v0.1.0",
			Serve:     serveMemory,
			Control:   func(_ context.Context, args []string) error { fmt.Println("control", args); return nil },
			Edge:      func(_ context.Context, options EdgeOptions) error { fmt.Println("edge", options.Data); return nil },
			Isolation: func(context.Context, string) (string, []string) { return "namespaces", nil },
			Trust:     trustNothing{},
		})
		command.now = func() time.Time { return apitest.Epoch().Add(3 * time.Hour) }
		os.Exit(command.Execute(context.Background(), os.Args[1:], os.Getenv, os.Stdin, os.Stdout, os.Stderr))
	}})
}

// serveMemory serves a platform in memory. With SLOW_DRAIN set it drains until
// it is forced.
func serveMemory(ctx context.Context, options ServeOptions) error {
	if options.HTTPS[0] == "127.0.0.1:1" {
		return springtide.Errorf(springtide.Conflict, "127.0.0.1:1 is in use").WithHint("choose another with --https")
	}
	server, err := apitest.Serve(apitest.New(), options.Data, nil)
	if err != nil {
		return err
	}
	if options.Ready != nil {
		options.Ready()
	}
	<-ctx.Done()
	if os.Getenv("SLOW_DRAIN") != "" {
		<-options.Force
	}
	return server.Close()
}

// trustNothing says what it would do.
type trustNothing struct{}

func (trustNothing) Install(_ context.Context, authority []byte) ([]string, error) {
	return []string{fmt.Sprintf("trusted %d bytes", len(authority))}, nil
}

func (trustNothing) Uninstall(context.Context, []byte) ([]string, error) {
	return []string{"no longer trusted"}, nil
}

// TestScripts runs the scripts in testdata: each is a story a user can read.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		UpdateScripts:       *update,
		RequireUniqueNames:  true,
		RequireExplicitExec: true,
		Setup:               setUp,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"platform": platform,
			"exits":    exits,
			"await":    await,
			"gone":     gone,
		},
	})
}

// serverKey holds the script's platform in memory.
type serverKey struct{}

// setUp gives each script a data folder of its own and no terminal.
func setUp(env *testscript.Env) error {
	env.Setenv("TIDE_DATA", filepath.Join(env.WorkDir, "data"))
	env.Values[serverKey{}] = new(*apitest.Server)
	env.Setenv("HOME", env.WorkDir)
	env.Setenv("GORACE", "atexit_sleep_ms=0") // else each command takes a second more
	env.Setenv("TZ", "UTC")
	env.Setenv("GIT_CONFIG_GLOBAL", "/dev/null")
	env.Setenv("GIT_CEILING_DIRECTORIES", filepath.Dir(env.WorkDir))
	return nil
}

// platform starts a platform in memory on the script's data folder. Then it
// does things to it: "scenario" adds output and decisions to the quiz, "jobs"
// schedules and a mail; "instance" puts the script into an instance of it, "lose
// LOCK" takes a lock away, and "away" ends the platform.
func platform(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) > 2 {
		ts.Fatalf("usage: platform [scenario|jobs|instance|lose LOCK|away]")
	}
	holder := ts.Value(serverKey{}).(**apitest.Server)
	if len(args) > 0 {
		scenario(ts, *holder, args)
		return
	}
	server, err := apitest.Serve(apitest.New(), ts.Getenv("TIDE_DATA"), nil)
	ts.Check(err)
	ts.Defer(func() { ts.Check(server.Close()) })
	*holder = server
}

func scenario(ts *testscript.TestScript, server *apitest.Server, args []string) {
	quiz := springtide.EnvironmentID{App: "quiz", Name: springtide.Production}
	switch args[0] {
	case "scenario":
		server.Log(quiz, "web-1-aaaaa", "listening on 20001")
		server.Log(quiz, "web-1-bbbbbbb", "GET / 200")
		server.Decide(quiz, 1, 3, "web 1 → 3: 96 requests at a time need 3 instances of 40")
	case "environment":
		server.Create(quiz)
	case "jobs":
		server.Create(quiz)
		server.SetSchedule(quiz, "fail", springtide.Schedule{Cron: "@hourly", Job: springtide.Job{Command: "exit 3"}})
		server.SetSchedule(quiz, "tidy", springtide.Schedule{Cron: "0 * * * *", Timezone: "Europe/Warsaw", Job: springtide.Job{Command: "./tidy"}})
		server.Catch(quiz, "quiz@example.com", "ada@example.com", "Hello", "Hello Ada")
	case "instance":
		server.Create(quiz)
		ts.Setenv("TIDE_API", "http://"+server.Instances+"/v1/apps/quiz/environments/production")
		ts.Setenv("TIDE_TOKEN", "instance-of-quiz/production")
		ts.Setenv("TIDE_INSTANCE", "web-1-aaaaa")
	case "lose":
		server.LoseLock(quiz, args[1])
	case "away":
		ts.Check(server.Close())
	default:
		ts.Fatalf("what is platform %s?", args[0])
	}
}

// exits checks the exit code of a command: exits 3 tide ps.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND [ARGUMENT]...")
	}
	err := ts.Exec(args[1], args[2:]...)
	code := 0
	if err != nil {
		if _, scanErr := fmt.Sscanf(err.Error(), "exit status %d", &code); scanErr != nil {
			ts.Fatalf("%v", err)
		}
	}
	if fmt.Sprint(code) != args[0] {
		ts.Fatalf("exit code %d, want %s", code, args[0])
	}
}

// gone waits until the process whose ID is in a file has ended: gone FILE.
func gone(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: gone FILE")
	}
	process, err := strconv.Atoi(strings.TrimSpace(ts.ReadFile(args[0])))
	ts.Check(err)
	for deadline := time.Now().Add(time.Minute); syscall.Kill(process, 0) == nil; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			ts.Fatalf("process %d goes on", process)
		}
	}
}

// await waits until a file holds a text: await FILE TEXT.
func await(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: await FILE TEXT")
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		text, err := os.ReadFile(ts.MkAbs(args[0]))
		if err == nil && strings.Contains(string(text), args[1]) {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("%s has no %q: %s", args[0], args[1], text)
		}
	}
}
