package peer

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/springtide/springtide"
)

func token(t *testing.T, text string) Token {
	t.Helper()
	made, err := ParseToken(text)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// listen gives the address of a control plane that answers each line.
func listen(t *testing.T, with Token) string {
	t.Helper()
	raw, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listener, err := Listen(raw, with)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				lines := bufio.NewReader(conn)
				for {
					line, err := lines.ReadString('\n')
					if err != nil {
						return
					}
					if _, err := io.WriteString(conn, "you said "+line); err != nil {
						return
					}
				}
			}()
		}
	}()
	return raw.Addr().String()
}

// again dials as edges do, until a try is not too slow: each has three seconds.
func again(t *testing.T, dial func(context.Context) (net.Conn, error)) (conn net.Conn, err error) {
	for range 20 {
		if conn, err = dial(t.Context()); !errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, context.DeadlineExceeded) {
			break
		}
	}
	return conn, err
}

const secret = "a token that nobody guesses, as long as it has to be"

func TestWhoHasTheTokenIsHeardAndBeatsAreNot(t *testing.T) {
	t.Parallel()
	dial, err := Dialer(listen(t, token(t, secret)), token(t, secret+"\n"))
	if err != nil {
		t.Fatal(err)
	}
	conn, err := again(t, dial)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	lines := bufio.NewReader(conn)
	for n, word := range []string{"first\n", "after some beats\n"} {
		time.Sleep(time.Duration(n) * (Silence + beatEvery)) // neither end says anything of its own
		if _, err := io.WriteString(conn, word); err != nil {
			t.Fatal(err)
		}
		if line, err := lines.ReadString('\n'); err != nil || line != "you said "+word {
			t.Fatalf("%q, %v", line, err)
		}
	}
}

func TestWhoHasAnotherTokenIsRefusedByBothEnds(t *testing.T) {
	dial, err := Dialer(listen(t, token(t, secret)), token(t, strings.ToUpper(secret)))
	if err != nil {
		t.Fatal(err)
	}
	if conn, err := again(t, dial); err == nil || !strings.Contains(err.Error(), "no control plane with our token") {
		t.Fatalf("%v, %v", conn, err)
	}
	// An edge's own key is none of a control plane.
	config, err := token(t, secret).config(controlPlane, edges)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := net.Dial("tcp", listen(t, token(t, secret)))
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	config.VerifyConnection = nil // it would refuse first
	if _, err := alive(tls.Client(raw, config)).Read(make([]byte, 1)); err == nil {
		t.Error("a control plane let in another one as an edge")
	}
}

func TestAnEndThatIsNotHeardOfIsGivenUp(t *testing.T) {
	t.Parallel()
	raw, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	listener, err := Listen(raw, token(t, secret))
	if err != nil {
		t.Fatal(err)
	}
	dial, err := Dialer(raw.Addr().String(), token(t, secret))
	if err != nil {
		t.Fatal(err)
	}
	silent := make(chan string, 1)
	go func() {
		conn, err := again(t, dial)
		if err != nil {
			t.Error(err)
			raw.Close()
			return
		}
		close(conn.(*connection).closed) // it beats no more, and keeps its connection
		silent <- conn.LocalAddr().String()
	}()
	for {
		conn, err := listener.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		began := time.Now()
		_, err = conn.Read(make([]byte, 1))
		took := time.Since(began)
		fault, timed := errors.AsType[net.Error](err)
		timed = timed && fault.Timeout()
		if !timed && len(silent) == 0 {
			continue // one that took too long to connect, and tries again
		}
		if !timed || took < Silence-time.Second || <-silent != conn.RemoteAddr().String() {
			t.Errorf("%v after %s", err, took)
		}
		return
	}
}

func TestATokenThatCanBeGuessedIsRefused(t *testing.T) {
	if _, err := ParseToken("password"); springtide.KindOf(err) != springtide.Invalid {
		t.Error(err)
	}
	path := filepath.Join(t.TempDir(), "token")
	if _, err := ReadToken(path); springtide.KindOf(err) != springtide.Invalid {
		t.Error(err)
	}
	if err := os.WriteFile(path, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if read, err := ReadToken(path); err != nil || read != token(t, secret) {
		t.Error(err)
	}
}
