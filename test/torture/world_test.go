package torture

import (
	"bytes"
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/springtide/springtide/test/story"
)

// What a helper process of the test binary finds in its environment.
const (
	roleVariable    = "TORTURE_ROLE" // worker or server
	apisVariable    = "TORTURE_APIS"
	notesVariable   = "TORTURE_NOTES"
	refusedVariable = "TORTURE_REFUSED"
	ledgerVariable  = "TORTURE_LEDGER" // of a worker that needs no server
	clockVariable   = "TORTURE_CLOCK"
	listenVariable  = "TORTURE_LISTEN"
	// markVariable is in the environment of all processes of one torture.
	markVariable = "TORTURE_MARK"
	token        = "torture"
)

// world is a ledger, all who have to do with it, and what they write down.
type world struct {
	t *testing.T
	// location is of the ledger's database.
	location string
	folder   string
	mark     string
	tide     string
	checker  string
	helper   string // this test's binary, but not slowed down by the race detector
	clock    string // the file that steps the clock
	notes    *os.File

	servers, runners, workers []*member
	apis                      []string
	replaced                  atomic.Int64 // runners, by deploys

	mu   sync.Mutex
	plan plan
}

// newWorld makes the folder of a torture, and the programs.
func newWorld(t *testing.T, each, concurrency int) *world {
	t.Helper()
	folder, err := os.MkdirTemp("", "torture-")
	if err != nil {
		t.Fatal(err)
	}
	w := &world{
		t: t, folder: folder, mark: rand.Text(), tide: story.Binary(t),
		checker: filepath.Join(folder, "check"), helper: filepath.Join(folder, "helper"), clock: filepath.Join(folder, "clock"), plan: plan{none: true, each: each, concurrency: concurrency},
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log("what everybody wrote is in", folder)
			return
		}
		os.RemoveAll(folder)
	})
	for _, arguments := range [][]string{{"build", "-trimpath", "-o", w.checker, "./test/torture/check"}, {"test", "-trimpath", "-c", "-o", w.helper, "./test/torture"}} {
		build := exec.CommandContext(t.Context(), "go", arguments...)
		build.Dir, build.Env = story.Root(t), append(os.Environ(), "CGO_ENABLED=0") // as tide is built: most of it is there
		if output, err := build.CombinedOutput(); err != nil {
			t.Fatalf("go %v: %v\n%s", arguments, err, output)
		}
	}
	w.must(os.Chmod(folder, 0o755)) // the database's user reads the clock
	w.must(os.Mkdir(filepath.Join(folder, "locks"), 0o755))
	w.must(os.Mkdir(filepath.Join(folder, "tmp"), 0o755))
	w.must(os.WriteFile(filepath.Join(folder, "task.sh"), []byte(script), 0o755))
	w.must(w.plan.write(filepath.Join(folder, "tide.yaml")))
	w.must(w.step(0))
	w.notes = w.log("acknowledged")
	return w
}

// keep copies a file into the folder if that is to be looked at.
func (w *world) keep(path, name string) {
	if !w.t.Failed() {
		return
	}
	text, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(filepath.Join(w.folder, name), text, 0o644)
	}
	if err != nil {
		w.t.Log(err)
	}
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// step sets by how much the ledger's clock is off.
func (w *world) step(offset time.Duration) error {
	if err := os.WriteFile(w.clock+".new", []byte(fmt.Sprintf("%+.3fs", offset.Seconds())), 0o644); err != nil {
		return err
	}
	if err := os.Chmod(w.clock+".new", 0o644); err != nil {
		return err
	}
	return os.Rename(w.clock+".new", w.clock)
}

// program makes a command in the folder.
func (w *world) program(log string, environment []string, path string, arguments ...string) *exec.Cmd {
	command := exec.Command(path, arguments...)
	command.Dir = w.folder
	command.Env = append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + w.folder, "TMPDIR=" + filepath.Join(w.folder, "tmp"), "LOCKS=" + filepath.Join(w.folder, "locks"),
		"TIDE_TOKEN=" + token, markVariable + "=" + w.mark,
	}, environment...)
	file := w.log(log)
	command.Stdout, command.Stderr = file, file
	return command
}

// addServer starts a server. It always has the same address.
func (w *world) addServer(program func(listen, data string) *exec.Cmd) {
	number, listen := len(w.servers), story.Address(w.t)
	data := filepath.Join(w.folder, fmt.Sprint("data-", number))
	w.must(os.MkdirAll(data, 0o700))
	w.apis = append(w.apis, "http://"+listen+"/v1/apps/torture/environments/production")
	w.servers = append(w.servers, start(w.t, fmt.Sprint("server ", number), func() *exec.Cmd { return program(listen, data) }))
}

// addRunner starts a runner that knows one server only.
func (w *world) addRunner(number int) *member {
	return start(w.t, fmt.Sprint("runner ", number), func() *exec.Cmd {
		return w.program(fmt.Sprint("runner-", number), []string{"TIDE_API=" + w.apis[number%len(w.apis)]},
			w.tide, "runner", "--queues", commandsQueue, "--slots", "6", "--grace", "1s", "--timeout", "20s")
	})
}

// addWorker starts a worker that speaks the protocol, to the servers or, if it is
// direct, to the ledger.
func (w *world) addWorker(number int, direct bool) *member {
	location := ""
	if direct {
		location = w.location
	}
	return start(w.t, fmt.Sprint("worker ", number), func() *exec.Cmd {
		return w.program(fmt.Sprint("worker-", number), []string{
			roleVariable + "=worker", ledgerVariable + "=" + location, apisVariable + "=" + strings.Join(w.apis, ","),
			notesVariable + "=" + w.notes.Name(), refusedVariable + "=" + filepath.Join(w.folder, "refused"),
		}, w.helper)
	})
}

// prepare waits for the first server, has all moves written down from then on,
// and only then are there schedules.
func (w *world) prepare() {
	w.t.Helper()
	story.Eventually(w.t, "the tables of the ledger", 3*time.Minute, func() bool {
		return exec.CommandContext(w.t.Context(), w.checker, "-database", w.location, "-prepare").Run() == nil
	})
	w.deploy(func(p *plan) { p.none = false })
}

// deploy makes another manifest the truth: servers end and start again, a few
// runners are replaced, and must bring to an end what they have.
func (w *world) deploy(change func(*plan)) {
	w.mu.Lock()
	change(&w.plan)
	w.plan.version++
	err := w.plan.write(filepath.Join(w.folder, "tide.yaml"))
	w.mu.Unlock()
	if err != nil {
		w.t.Error(err)
	}
	var restarted sync.WaitGroup
	for _, server := range w.servers {
		restarted.Go(func() { _ = server.again(5 * time.Second) }) // a stopped one is killed
	}
	restarted.Wait()
}

// replace ends a runner as a deploy does. It must drain, unless it is stopped
// meanwhile, or nobody answers it.
func (w *world) replace(runner *member) {
	began := time.Now()
	err := runner.again(3 * time.Minute) // its server may be killed and stopped meanwhile
	w.replaced.Add(1)
	if state, ok := errors.AsType[*exec.ExitError](err); ok {
		if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
			return // by chaos
		}
	}
	if err != nil {
		w.t.Errorf("%s did not drain, after %s: %v", runner.name, time.Since(began).Round(time.Millisecond), err)
	}
}

// database asks the ledger's database for one number.
func (w *world) database(query string) (number int, err error) {
	driver := "sqlite"
	if strings.HasPrefix(w.location, "postgres:") {
		driver = "pgx"
	}
	db, err := sql.Open(driver, w.location)
	if err != nil {
		return 0, err
	}
	defer db.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if driver == "sqlite" {
		query = strings.ReplaceAll(query, "springtide.", "")
	}
	return number, db.QueryRowContext(ctx, query).Scan(&number)
}

// await waits until a condition holds of numbers that the ledger's database
// gives; -1: it does not answer.
func (w *world) await(what string, condition func(here func(query string) int) bool) {
	w.t.Helper()
	var problem error
	here := func(query string) int {
		number, err := w.database(query)
		if err != nil {
			problem, number = err, -1
		}
		return number
	}
	const limit = 3 * time.Minute
	for deadline := time.Now().Add(limit); !condition(here); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			w.t.Fatalf("it takes more than %s until %s: %v", limit, what, problem)
		}
	}
}

// drain waits until nothing is left to do, for as long as there is less and less
// of it. What then is left the checker names.
func (w *world) drain() {
	const patience = 150 * time.Second // the back-off after four failures
	began, least, progressed, told := time.Now(), -1, time.Now(), time.Now()
	for time.Since(progressed) < patience {
		left, err := w.database(`SELECT (SELECT count(*) FROM springtide.runs WHERE state IN ('scheduled', 'waiting', 'available', 'claimed', 'running'))
			+ (SELECT count(*) FROM springtide.schedules, springtide.clock WHERE next_slot <> 0 AND next_slot <= calendar)`)
		if err == nil && (left < least || least < 0) {
			least, progressed = left, time.Now()
		}
		if err == nil && left == 0 {
			break
		}
		if time.Since(told) > 10*time.Second {
			told = time.Now()
			w.t.Logf("after %s of peace %d runs are not over: %v", time.Since(began).Round(time.Second), left, err)
		}
		time.Sleep(500 * time.Millisecond)
	}
	w.t.Logf("peace took %s, with %d runs not over", time.Since(began).Round(time.Second), least)
}

// retire ends everybody in order, and looks for what they left behind.
func (w *world) retire() {
	w.t.Helper()
	for _, group := range [][]*member{w.runners, w.workers, w.servers} {
		var ended sync.WaitGroup
		for _, m := range group {
			ended.Go(func() {
				if err := m.end(syscall.SIGTERM, 90*time.Second); err != nil {
					w.t.Error(err)
				}
			})
		}
		ended.Wait()
	}
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		left := w.left()
		if len(left) == 0 {
			return
		}
		if time.Now().After(deadline) {
			w.t.Errorf("%d processes were left behind:\n%s", len(left), strings.Join(left, "\n"))
			return
		}
	}
}

// left are the processes that have the torture's mark in their environment.
func (w *world) left() (found []string) {
	files, _ := filepath.Glob("/proc/[0-9]*/environ") // the pattern is right
	for _, file := range files {
		environment, err := os.ReadFile(file)
		if err != nil || !bytes.Contains(environment, []byte(markVariable+"="+w.mark)) {
			continue
		}
		arguments, _ := os.ReadFile(filepath.Join(filepath.Dir(file), "cmdline"))
		run := "no run"
		for pair := range bytes.SplitSeq(environment, []byte{0}) {
			if bytes.HasPrefix(pair, []byte("RUN_ID=")) {
				run = string(pair)
			}
		}
		found = append(found, fmt.Sprintf("%s: %s, %s", filepath.Dir(file), bytes.ReplaceAll(arguments, []byte{0}, []byte(" ")), run))
	}
	return found
}

// check has the tables checked, and gives the numbers.
func (w *world) check() map[string]int {
	w.t.Helper()
	var output, problems bytes.Buffer
	check := exec.CommandContext(w.t.Context(), w.checker, "-database", w.location, "-acknowledged", w.notes.Name(), "-json")
	check.Stdout, check.Stderr = &output, &problems
	failed := check.Run()
	var found struct {
		Numbers []struct {
			Name  string
			Value int
		}
		Violations []string
	}
	if err := json.Unmarshal(output.Bytes(), &found); err != nil {
		w.t.Fatalf("%v, %v: %s", failed, err, problems.String())
	}
	numbers := map[string]int{}
	var table strings.Builder
	for _, n := range found.Numbers {
		numbers[n.Name] = n.Value
		fmt.Fprintf(&table, "%10d  %s\n", n.Value, n.Name)
	}
	refused, _ := os.ReadFile(filepath.Join(w.folder, "refused")) // nobody was refused
	numbers["refused"] = bytes.Count(refused, []byte("\n"))
	fmt.Fprintf(&table, "%10d  %s\n", numbers["refused"], "results refused")
	w.t.Logf("what the tables say:\n%s", table.String())
	for i, violation := range found.Violations {
		if i == 50 {
			w.t.Errorf("... and %d more", len(found.Violations)-i)
			break
		}
		w.t.Errorf("violation: %s", violation)
	}
	if complaints, err := os.ReadFile(filepath.Join(w.folder, "locks", "complaints")); err == nil {
		w.t.Errorf("runs complain:\n%s", complaints)
	}
	return numbers
}
