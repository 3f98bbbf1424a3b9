package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/springtide/springtide/bench/platform"
	"github.com/springtide/springtide/internal/client"
	"github.com/springtide/springtide/test/story"
)

// patience is how long a script waits for anything.
const patience = 2 * time.Minute

// TestScripts runs the scripts in testdata: each is the story of a user at a
// terminal, told with the real binary. Besides what testscript offers they have:
//
//	serve [ARGUMENT]...           run the platform, until the script ends
//	end                           end it as a service manager does
//	https APP PATH [PATTERN]      request a page until it is such; ! https wants a refusal
//	until PATTERN COMMAND...      repeat a command until its output is such
//	await FILE TEXT               wait until a file holds a text
//	exits CODE COMMAND...         run a command that ends with that code
//	json PATH VALUE               check a value in the JSON of stdout: 0.state, len
//	nothing-left                  check that nothing of the platform remains
//
// The addresses in $HTTPS, $HTTP and $API are free; $EXAMPLES has the examples.
func TestScripts(t *testing.T) {
	root := t.TempDir()
	for _, folder := range []string{filepath.Dir(root), root} {
		if err := os.Chmod(folder, 0o755); err != nil { // apps have users of their own
			t.Fatal(err)
		}
	}
	programs := filepath.Join(root, "bin")
	if err := os.Mkdir(programs, 0o755); err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(programs, "tide")
	if err := os.Symlink(story.Binary(t), binary); err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                "testdata",
		WorkdirRoot:        root,
		RequireUniqueNames: true,
		Setup: func(env *testscript.Env) error {
			return setUp(env, binary, filepath.Join(story.Root(t), "examples"))
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"serve": serveScript, "end": endScript, "https": https, "until": until,
			"await": awaitText, "exits": exits, "json": checkJSON, "nothing-left": nothingLeft,
		},
	})
}

// serverKey holds the script's platform.
type serverKey struct{}

// server is a platform that a script runs.
type server struct {
	*platform.Platform
	output lockedBuffer
}

// setUp gives each script a data folder and addresses of its own.
func setUp(env *testscript.Env, binary, examples string) error {
	env.Values[serverKey{}] = new(server)
	env.Setenv("TIDE_DATA", filepath.Join(env.WorkDir, "data"))
	env.Setenv("HOME", filepath.Join(env.WorkDir, "home"))
	env.Setenv("PATH", filepath.Dir(binary)+":/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin")
	env.Setenv("EXAMPLES", examples)
	env.Setenv("TZ", "UTC")
	env.Setenv("GIT_CONFIG_GLOBAL", "/dev/null")
	env.Setenv("GIT_CEILING_DIRECTORIES", filepath.Dir(env.WorkDir))
	for _, name := range []string{"HTTPS", "HTTP", "API"} {
		address, err := platform.Reserve()
		if err != nil {
			return err
		}
		env.Defer(func() { address.Close() })
		_, port, _ := strings.Cut(address.String(), ":")
		env.Setenv(name, address.String())
		env.Setenv(name+"_PORT", port)
	}
	return nil
}

func serveScript(ts *testscript.TestScript, neg bool, arguments []string) {
	if neg {
		ts.Fatalf("usage: serve [ARGUMENT]...")
	}
	s := ts.Value(serverKey{}).(*server)
	program, err := filepath.Abs(filepath.Join(strings.Split(ts.Getenv("PATH"), ":")[0], "tide"))
	ts.Check(err)
	s.Platform, err = platform.Start(context.Background(), platform.Options{
		Tide: program, Data: ts.Getenv("TIDE_DATA"), HTTPS: ts.Getenv("HTTPS"), HTTP: ts.Getenv("HTTP"),
		Arguments: arguments, Output: &s.output,
	})
	if err != nil {
		ts.Fatalf("%v\n%s", err, s.output.String())
	}
	ts.Defer(func() {
		if s.Platform != nil {
			if err := s.Stop(); err != nil {
				ts.Logf("tide serve ended with %v", err)
			}
		}
		ts.Logf("the platform said:\n%s", s.output.String())
	})
}

func endScript(ts *testscript.TestScript, neg bool, arguments []string) {
	s := ts.Value(serverKey{}).(*server)
	if neg || len(arguments) > 0 || s.Platform == nil {
		ts.Fatalf("usage: end, after serve")
	}
	ts.Check(s.Stop())
	s.Platform = nil
}

func nothingLeft(ts *testscript.TestScript, neg bool, arguments []string) {
	if neg || len(arguments) > 0 {
		ts.Fatalf("usage: nothing-left")
	}
	if remnants := story.Remnants(ts.Getenv("TIDE_DATA")); len(remnants) > 0 {
		ts.Fatalf("left behind:\n%s", strings.Join(remnants, "\n"))
	}
}

// https requests a page of an app and shows the status, the headers and the
// body. A change takes a moment to reach the edge, so it asks again for a while
// if the answer is not as wanted.
func https(ts *testscript.TestScript, neg bool, arguments []string) {
	if len(arguments) != 2 && len(arguments) != 3 {
		ts.Fatalf("usage: [!] https APP PATH [PATTERN]")
	}
	pattern, err := regexp.Compile("(?m)" + strings.Join(arguments[2:], ""))
	ts.Check(err)
	host := arguments[0]
	if !strings.Contains(host, ".") {
		host += ".localhost"
	}
	url := "https://" + host + ":" + ts.Getenv("HTTPS_PORT") + arguments[1]
	var answer string
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		status, text, err := request(ts, url)
		if err == nil && neg == (status >= http.StatusBadRequest) && pattern.MatchString(text) {
			answer = text
			break
		}
		if time.Now().After(deadline) {
			ts.Fatalf("GET %s: %v\n%s", url, err, text)
		}
	}
	_, err = io.WriteString(ts.Stdout(), answer)
	ts.Check(err)
}

// request gets a page, trusting the platform's authority, over a connection of
// its own.
func request(ts *testscript.TestScript, url string) (status int, answer string, err error) {
	c, err := client.New(client.Options{Data: ts.Getenv("TIDE_DATA")})
	if err != nil {
		return 0, "", err
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	authority, err := c.CertificateAuthority(ctx)
	if err != nil {
		return 0, "", err
	}
	trusted := x509.NewCertPool()
	trusted.AppendCertsFromPEM([]byte(authority))
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: trusted}, ForceAttemptHTTP2: true, DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, ts.Getenv("HTTPS"))
		},
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, "", err
	}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	text := fmt.Sprintln(response.Proto, response.Status)
	for _, name := range slices.Sorted(maps.Keys(response.Header)) {
		text += fmt.Sprintf("%s: %s\n", name, response.Header.Get(name))
	}
	return response.StatusCode, text + "\n" + string(body), err
}

// until repeats a command until its stdout matches.
func until(ts *testscript.TestScript, neg bool, arguments []string) {
	if neg || len(arguments) < 2 {
		ts.Fatalf("usage: until PATTERN COMMAND [ARGUMENT]...")
	}
	pattern, err := regexp.Compile("(?m)" + arguments[0])
	ts.Check(err)
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		err := ts.Exec(arguments[1], arguments[2:]...)
		if err == nil && pattern.MatchString(ts.ReadFile("stdout")) {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("waited %s for %q; at last: %v\n%s%s", patience, arguments[0], err, ts.ReadFile("stdout"), ts.ReadFile("stderr"))
		}
	}
}

// awaitText waits until a file holds a text.
func awaitText(ts *testscript.TestScript, neg bool, arguments []string) {
	if neg || len(arguments) != 2 {
		ts.Fatalf("usage: await FILE TEXT")
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		text, err := os.ReadFile(ts.MkAbs(arguments[0]))
		if err == nil && bytes.Contains(text, []byte(arguments[1])) {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("%s has no %q: %s", arguments[0], arguments[1], text)
		}
	}
}

// exits checks the exit code of a command.
func exits(ts *testscript.TestScript, neg bool, arguments []string) {
	if neg || len(arguments) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND [ARGUMENT]...")
	}
	err := ts.Exec(arguments[1], arguments[2:]...)
	code := 0
	if err != nil {
		if _, scanErr := fmt.Sscanf(err.Error(), "exit status %d", &code); scanErr != nil {
			ts.Fatalf("%v", err)
		}
	}
	if strconv.Itoa(code) != arguments[0] {
		ts.Fatalf("exit code %d, want %s", code, arguments[0])
	}
}

// checkJSON looks a value up in the JSON of stdout, or in its last line. The
// steps of the path are keys and indices; len is the length of a list.
func checkJSON(ts *testscript.TestScript, neg bool, arguments []string) {
	if len(arguments) != 2 {
		ts.Fatalf("usage: [!] json PATH VALUE")
	}
	text := strings.TrimSpace(ts.ReadFile("stdout"))
	var value any
	if err := json.Unmarshal([]byte(text), &value); err != nil {
		last := text[strings.LastIndexByte(text, '\n')+1:]
		if err := json.Unmarshal([]byte(last), &value); err != nil {
			ts.Fatalf("stdout is no JSON: %v", err)
		}
	}
	for step := range strings.SplitSeq(arguments[0], ".") {
		value = inside(value, step)
	}
	if got := fmt.Sprint(value); (got == arguments[1]) == neg {
		ts.Fatalf("%s is %s", arguments[0], got)
	}
}

func inside(value any, step string) any {
	switch value := value.(type) {
	case map[string]any:
		return value[step]
	case []any:
		if step == "len" {
			return len(value)
		}
		if i, err := strconv.Atoi(step); err == nil && i < len(value) {
			return value[i]
		}
	}
	return nil
}

// lockedBuffer takes what a process writes while others read it.
type lockedBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write implements io.Writer.
func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

// String gives what was written so far.
func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}
