package process

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/redact"
)

// valuable is a secret with bytes that look different in every form.
const valuable = `s3cr+t/"of the" app?&=~end`

// granting gives an Access that grants always the same.
func granting(grant Grant) func(*Options) {
	return func(o *Options) { o.Access = func(Subject) (Grant, error) { return grant, nil } }
}

func secretGrant() Grant {
	return Grant{
		Env:         map[string]string{"KEY": valuable},
		Credentials: map[string][]byte{"KEY": []byte(valuable), "binary": {0, 1, '\n', 255}},
		Hide:        [][]byte{[]byte(valuable)},
	}
}

func TestWhatIsGrantedAsCredentialsAreFilesInMemoryThatTheInstanceAloneCanRead(t *testing.T) {
	eachKind(t, granting(secretGrant()), func(t *testing.T, e *Engine) {
		for n, command := range []string{
			`test "$(cat "$CREDENTIALS_DIRECTORY/KEY")" = "$KEY"`,
			`test "$(od -An -tx1 "$CREDENTIALS_DIRECTORY/binary" | tr -d ' ')" = 00010aff`,
			`test "$(stat -c %a-%u "$CREDENTIALS_DIRECTORY/KEY")" = "400-$(id -u)"`,
			`test "$(stat -c %a-%u "$CREDENTIALS_DIRECTORY")" = "700-$(id -u)"`,
			`test "$(stat -f -c %T "$CREDENTIALS_DIRECTORY")" = tmpfs`,
		} {
			if exit, output := execute(t, e, "credentials-"+strconv.Itoa(n), command, springtide.Limits{}); exit.Code != 0 {
				t.Errorf("%s: %s\n%s", command, exit.Reason, output)
			}
		}
		if e.Isolation().MountNamespace {
			exit, output := execute(t, e, "write", `! touch "$CREDENTIALS_DIRECTORY/other" && ! rm -f "$CREDENTIALS_DIRECTORY/KEY"`, springtide.Limits{})
			if exit.Code != 0 {
				t.Errorf("they can be changed: %s", output)
			}
		}
		wantNoCredentialsLeft(t, e)
	})
}

func wantNoCredentialsLeft(t *testing.T, e *Engine) {
	t.Helper()
	poll(t, "the end of the credentials", func() bool {
		left, err := os.ReadDir(e.memory)
		return len(left) == 0 && (err == nil || os.IsNotExist(err))
	})
	t.Cleanup(func() { os.Remove(e.memory) })
}

func TestWhatIsGrantedEndsWithAnInstanceThatIsKilledWithItsInit(t *testing.T) {
	eachKind(t, granting(secretGrant()), func(t *testing.T, e *Engine) {
		group := crashGroup(1)
		group.Template.Process.Command = `cat "$CREDENTIALS_DIRECTORY/KEY" > /dev/null && exec sleep 86399`
		if err := e.Apply(t.Context(), group); err != nil {
			t.Fatal(err)
		}
		instance := awaitReady(t, e, group)[0]
		if err := syscall.Kill(instance.PID, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		poll(t, "its next start", func() bool {
			next := awaitReady(t, e, group)[0]
			return next.PID != instance.PID && next.Restarts > 0
		})
		if err := e.Remove(t.Context(), group.ID); err != nil {
			t.Fatal(err)
		}
		wantNoCredentialsLeft(t, e)
	})
}

func TestAnInstanceThatCannotBeGrantedWhatItNeedsSaysWhyAndIsTriedAgain(t *testing.T) {
	var away atomic.Bool
	away.Store(true)
	e := runningEngine(t, func(o *Options) {
		o.Access = func(Subject) (Grant, error) {
			if away.Load() {
				return Grant{}, springtide.Errorf(springtide.Unavailable, "the secret KEY is not to be had")
			}
			return Grant{}, nil
		}
	})
	group := crashGroup(1)
	if err := e.Apply(t.Context(), group); err != nil {
		t.Fatal(err)
	}
	for snapshot := range e.Watch(t.Context()) {
		own := snapshot.Of(group.ID)
		if len(own) == 1 && own[0].State == springtide.InstanceCrashed {
			if want := "could not be started: the secret KEY is not to be had"; own[0].Reason != want {
				t.Errorf("its reason is %q, want %q", own[0].Reason, want)
			}
			break
		}
	}
	task := springtide.Task{ID: "refused", Environment: group.ID.Environment, Command: "true"}
	if _, err := e.Exec(t.Context(), task); springtide.KindOf(err) != springtide.Failed || !strings.Contains(err.Error(), "the secret KEY is not to be had") {
		t.Errorf("a task: %v", err)
	}
	away.Store(false)
	awaitReady(t, e, group)
	if exit, err := e.Exec(t.Context(), task); err != nil || exit.Code != 0 {
		t.Errorf("the task again: %+v, %v", exit, err)
	}
}

func TestWhatIsGrantedIsInNoFileNoCommandLineAndNoLog(t *testing.T) {
	eachKind(t, granting(secretGrant()), func(t *testing.T, e *Engine) {
		// The app says it in all the ways it can; in pieces, and on both streams.
		say := `cat "$CREDENTIALS_DIRECTORY/KEY"; echo; printf '%s' "$KEY" | base64; printf 'user:%s' "$KEY" | base64 >&2; ` +
			`printf '%s' "${KEY%app*}"; printf '%s\n' "app${KEY#*app}"; head -c 65520 /dev/zero | tr '\0' x; echo "$KEY"; echo "the end"; `
		group := crashGroup(1)
		group.Template.Process.Command = say + "exec sleep 86399"
		if err := e.Apply(t.Context(), group); err != nil {
			t.Fatal(err)
		}
		instance := awaitReady(t, e, group)[0]
		if exit, _ := execute(t, e, "saying", say, springtide.Limits{}); exit.Code != 0 {
			t.Fatalf("%+v", exit)
		}
		logs, name := e.logPlace(spec{Group: group, Instance: instance.ID})
		poll(t, "the end of the output", func() bool {
			text, err := os.ReadFile(filepath.Join(logs, name))
			return err == nil && bytes.Contains(text, []byte("the end")) && bytes.Count(text, []byte(redact.Marker)) == 5
		})
		cmd, err := e.ShellCommand(instance.ID, `cat "$CREDENTIALS_DIRECTORY/KEY"; read -r end`)
		if err != nil {
			t.Fatal(err)
		}
		input, inputErr := cmd.StdinPipe()
		output, outputErr := cmd.StdoutPipe()
		if err := errors.Join(inputErr, outputErr, cmd.Start()); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(valuable))
		if _, err := io.ReadFull(output, got); err != nil || string(got) != valuable {
			t.Errorf("the shell reads %q, %v", got, err)
		}
		searchFor(t, e.options.Data)
		for _, line := range commandLinesWith(t, valuable) {
			t.Errorf("it is in the command line %q", line)
		}
		input.Close()
		_ = cmd.Wait() // There was nothing to read.
	})
}

// searchFor looks for the bytes of the secret in all files of the data folder.
func searchFor(t *testing.T, data string) {
	t.Helper()
	encoded := base64.StdEncoding.EncodeToString([]byte(valuable))
	files := 0
	err := filepath.WalkDir(data, func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // It was about to be renamed.
		}
		if err != nil || !entry.Type().IsRegular() || strings.HasPrefix(path, filepath.Join(data, "bin")) {
			return err // The test's own program has it in it, of course.
		}
		text, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		files++
		for _, part := range []string{valuable, valuable[:12], valuable[12:], encoded[:16]} {
			if bytes.Contains(text, []byte(part)) {
				t.Errorf("%s has %q in it", path, part)
			}
		}
		return nil
	})
	if err != nil || files < 8 {
		t.Errorf("%d files were looked at: %v", files, err)
	}
}

// commandLinesWith gives the command lines of all processes that have the text.
func commandLinesWith(t *testing.T, text string) (found []string) {
	t.Helper()
	paths, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no processes: %v", err)
	}
	for _, path := range paths {
		if line, err := os.ReadFile(path); err == nil && bytes.Contains(line, []byte(text)) {
			found = append(found, string(line))
		}
	}
	return found
}

func TestEightInstancesSeeOneGrantedFolderAtOnce(t *testing.T) {
	shared, root, elsewhere := t.TempDir(), t.TempDir(), filepath.Join(t.TempDir(), "made", "for")
	if err := os.Chmod(shared, 0o777); err != nil {
		t.Fatal(err)
	}
	e := runningEngine(t, granting(Grant{Places: map[string]string{"UPLOADS": "data/uploads"}, Mounts: []Mount{
		{Source: shared, Target: "data/uploads"}, {Source: shared, Target: elsewhere, ReadOnly: true},
	}}))
	if !e.Isolation().MountNamespace {
		t.Skip("the machine has no mount namespaces for us")
	}
	group := crashGroup(8)
	group.Template.Root = root
	// Each leaves its name, from wherever it is, and is content when it sees all.
	group.Template.Process.Command = `cd / && touch "$UPLOADS/$TIDE_INSTANCE"; ! touch '` + elsewhere + `/refused' || exit 1
		until [ "$(ls '` + elsewhere + `' | wc -l)" -ge 8 ]; do sleep 0.05; done; touch "$HOME/seen"; exec sleep 86399`
	if err := e.Apply(t.Context(), group); err != nil {
		t.Fatal(err)
	}
	for _, instance := range awaitReady(t, e, group) {
		home := filepath.Join(e.options.Data, "instances", string(instance.ID), homeFolder)
		poll(t, "that instance "+string(instance.ID)+" sees what all have left", func() bool {
			_, err := os.Stat(filepath.Join(home, "seen"))
			return err == nil
		})
	}
	for _, place := range []string{filepath.Join(root, "data/uploads"), elsewhere} {
		if left, err := os.ReadDir(place); err != nil || len(left) > 0 {
			t.Errorf("on the machine %s has %v, %v", place, left, err)
		}
	}
	// A shell, and whoever checks the health, is where the instance is.
	cmd, err := e.ShellCommand(awaitReady(t, e, group)[0].ID, `ls data/uploads | wc -l`)
	if err != nil {
		t.Fatal(err)
	}
	if output, err := cmd.Output(); err != nil || strings.TrimSpace(string(output)) != "8" {
		t.Errorf("a shell sees %s, %v", output, err)
	}
}

func TestFoldersThatCannotBeGrantedAreRefusedWithAReason(t *testing.T) {
	shared, root := t.TempDir(), t.TempDir()
	for name, target := range map[string]string{"out": "/etc", "nowhere": "/does/not/exist"} {
		if err := os.Symlink(target, filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink("/usr/share", link); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	e := runningEngine(t, nil)
	for target, want := range map[string]string{
		"/": "system", "/etc": "system", "/etc/ssl/x": "system", "/usr": "system", "/bin/x": "system", "/proc/1": "system",
		"/dev/shm/x": "system", "/var/lib": "system", "/srv/../run": "system", link + "/x": "system",
		e.options.Data: "system", e.options.Data + "/x": "system", filepath.Dir(e.options.Data): "system",
		"../x": "no folder within the app", ".": "no folder within the app", "": "no folder within the app",
		"file": "has a file there", "file/x": "no room", "out/x": "no room", "nowhere": "no room",
	} {
		_, err := e.binds(root, []Mount{{Source: shared, Target: target}})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", target, err, want)
		}
	}
	if _, err := e.binds(root, []Mount{{Source: shared + "/gone", Target: "x"}}); err == nil {
		t.Error("a source that is not there is not noticed")
	}
}

func TestTheFolderOfCredentialsMustNotBeSomebodyElses(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can make a folder that is somebody else's")
	}
	e := runningEngine(t, func(o *Options) {
		granting(secretGrant())(o)
		o.Plain = true
	})
	if err := os.MkdirAll(e.memory, 0o777); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(e.memory) })
	if err := os.Chown(e.memory, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	_, err := e.Exec(t.Context(), springtide.Task{ID: "trap", Environment: crashGroup(1).ID.Environment, Command: "true"})
	if err == nil || !strings.Contains(err.Error(), "is not ours") {
		t.Errorf("got %v", err)
	}
}

func TestAHealthCommandsLastWordsHideWhatIsGranted(t *testing.T) {
	e := runningEngine(t, granting(secretGrant()))
	group := crashGroup(1)
	group.Template.Process.Health = springtide.Health{
		Command: `echo "cannot log in with $KEY"; exit 1`, Interval: 20 * time.Millisecond, Timeout: 5 * time.Second, Start: 10 * time.Second,
	}
	if err := e.Apply(t.Context(), group); err != nil {
		t.Fatal(err)
	}
	for snapshot := range e.Watch(t.Context()) {
		own := snapshot.Of(group.ID)
		if len(own) == 1 && strings.Contains(own[0].Reason, "cannot log in") {
			if !strings.HasSuffix(own[0].Reason, "with "+redact.Marker) {
				t.Errorf("the reason is %q", own[0].Reason)
			}
			return
		}
	}
}

func TestAGrantThatNoProcessCanHaveIsRefused(t *testing.T) {
	for want, grant := range map[string]Grant{
		"zero byte":      {Env: map[string]string{"KEY": "a\x00b"}},
		"name of a file": {Credentials: map[string][]byte{"../KEY": nil}},
	} {
		e := &Engine{}
		granting(grant)(&e.options)
		if _, err := e.grant(spec{}); springtide.KindOf(err) != springtide.Invalid || !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("%s: got %v", want, err)
		}
	}
}
