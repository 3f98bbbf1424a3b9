// Package up tells of people who bring an app up in a terminal and end it
// again, politely or not.
package up

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"

	"github.com/springtide/springtide/bench/platform"
	"github.com/springtide/springtide/test/story"
)

// nobody is the user that stories about ordinary users are told with.
const nobody = 65534

// terminal is a `tide up` that runs, as the leader of its session.
type terminal struct {
	*exec.Cmd
	data, https string
	output      *screen
}

// screen keeps what a process shows.
type screen struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write implements io.Writer.
func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// command is `tide up` on the tide clock, which needs nothing but Python.
func command(t *testing.T) *terminal {
	t.Helper()
	root := story.Folder(t)
	app := filepath.Join(root, "clock")
	if err := platform.CopyApp(filepath.Join(story.Root(t), "examples", "python"), app); err != nil {
		t.Fatal(err)
	}
	https := story.Address(t)
	up := &terminal{data: filepath.Join(root, "data"), https: https, output: new(screen)}
	up.Cmd = exec.Command(story.Binary(t), "up", app, "--https", https, "--http", "127.0.0.1:0")
	up.Env = append(os.Environ(), "TIDE_DATA="+up.data, "HOME="+root)
	up.Stdout, up.Stderr = up.output, up.output
	up.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	t.Cleanup(func() {
		if up.Process != nil {
			_ = syscall.Kill(-up.Process.Pid, syscall.SIGKILL)
			_ = up.Wait()
		}
		if t.Failed() {
			log, _ := os.ReadFile(filepath.Join(up.data, "logs", "platform.log"))
			t.Logf("tide up showed:\n%s\nthe platform said:\n%s", up.output, log)
		}
	})
	return up
}

// start runs it and waits until the app is served.
func (up *terminal) start(t *testing.T) {
	t.Helper()
	if err := up.Start(); err != nil {
		t.Fatal(err)
	}
	up.shows(t, "serves")
	up.serves(t)
}

func (up *terminal) shows(t *testing.T, text string) {
	t.Helper()
	story.Eventually(t, fmt.Sprintf("%q on the screen", text), 2*time.Minute, func() bool {
		return strings.Contains(up.output.String(), text)
	})
}

// serves checks that the app answers.
func (up *terminal) serves(t *testing.T) {
	t.Helper()
	transport := &http.Transport{
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // The certificate is another story's.
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, up.https)
		},
	}
	client := &http.Client{Transport: transport, Timeout: time.Minute}
	if body := story.Get(t, client, "https://clock.localhost/healthz"); body != "ok\n" {
		t.Errorf("the app answers %q", body)
	}
}

// ends waits for its end.
func (up *terminal) ends(t *testing.T) error {
	t.Helper()
	ended := make(chan error, 1)
	go func() { ended <- up.Wait() }()
	select {
	case err := <-ended:
		return err
	case <-time.After(time.Minute):
		t.Fatal("tide up does not end")
		return nil
	}
}

func TestCtrlCLetsEverythingGoAndLeavesNothing(t *testing.T) {
	up := command(t)
	up.start(t)
	if err := syscall.Kill(-up.Process.Pid, syscall.SIGINT); err != nil { // as a terminal does
		t.Fatal(err)
	}
	if err := up.ends(t); err != nil {
		t.Errorf("tide up ended with %v", err)
	}
	up.shows(t, "nothing runs any more")
	story.NothingLeft(t, up.data)
}

func TestCtrlCDuringTheStartLeavesNothing(t *testing.T) {
	for _, after := range []time.Duration{20 * time.Millisecond, 100 * time.Millisecond, 150 * time.Millisecond, 200 * time.Millisecond, 400 * time.Millisecond} {
		t.Run(after.String(), func(t *testing.T) {
			up := command(t)
			if err := up.Start(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(after) // wherever it is by then
			if err := syscall.Kill(-up.Process.Pid, syscall.SIGINT); err != nil {
				t.Fatal(err)
			}
			_ = up.ends(t) // before it has begun it is a plain interrupt
			story.NothingLeft(t, up.data)
		})
	}
}

func TestAKilledUpTakesItsPlatformWithIt(t *testing.T) {
	up := command(t)
	up.start(t)
	if err := up.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = up.ends(t) // killed
	story.Eventually(t, "the platform to end", time.Minute, func() bool { return len(story.Remnants(up.data)) == 0 })
}

func TestOnATerminalTheViewIsLiveUntilCtrlCIsTyped(t *testing.T) {
	up := command(t)
	up.Stdin, up.Stdout, up.Stderr, up.SysProcAttr = nil, nil, nil, nil
	up.Env = append(up.Env, "TERM=xterm")
	keyboard, err := pty.StartWithSize(up.Cmd, &pty.Winsize{Rows: 40, Cols: 120})
	if err != nil {
		t.Fatal(err)
	}
	defer keyboard.Close()
	go io.Copy(up.output, keyboard) // ends with the terminal
	up.shows(t, "req/s")
	up.shows(t, "https://clock.localhost:")
	up.shows(t, "ready")
	up.serves(t)
	up.shows(t, "healthz") // the app's own output
	if _, err := keyboard.WriteString("\x03"); err != nil {
		t.Fatal(err)
	}
	if err := up.ends(t); err != nil {
		t.Errorf("tide up ended with %v", err)
	}
	up.shows(t, "nothing runs any more")
	story.NothingLeft(t, up.data)
}

func TestAnOrdinaryUserBringsAnAppUpAndDown(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root to become somebody else")
	}
	up := command(t)
	root := filepath.Dir(up.data)
	if err := os.Chown(root, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	as := func(command *exec.Cmd) {
		command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		command.Env = append(up.Env, "XDG_RUNTIME_DIR=")
	}
	as(up.Cmd)
	up.start(t)
	for _, arguments := range [][]string{{"status"}, {"doctor", "--port", up.https}} {
		told := exec.Command(up.Path, arguments...)
		as(told)
		output, err := told.CombinedOutput()
		if err != nil || !strings.Contains(string(output), "as user") || !strings.Contains(string(output), "network: shared") {
			t.Errorf("tide %s: %v\n%s", arguments[0], err, output)
		}
	}
	once := exec.Command(up.Path, "run", "--app", "clock", "id -u; exit 3")
	as(once)
	output, err := once.Output()
	if once.ProcessState.ExitCode() != 3 || strings.TrimSpace(string(output)) == "0" {
		t.Errorf("tide run: %v: %s", err, output)
	}
	if err := syscall.Kill(-up.Process.Pid, syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if err := up.ends(t); err != nil {
		t.Errorf("tide up ended with %v", err)
	}
	story.NothingLeft(t, up.data)
}
