package backup

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/service/servicetest"
)

// sshServer is a real one, on loopback, that lets this user in.
type sshServer struct {
	folder, address string
	command         *exec.Cmd
}

// startSSH starts one with keys of its own.
func startSSH(t *testing.T) *sshServer {
	t.Helper()
	if os.Getuid() == 0 { // where it puts itself while it is not trusted yet
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
			t.Fatal(err)
		}
	}
	s := &sshServer{folder: t.TempDir(), address: freeAddress(t)}
	public := s.writeKey(t, "key")
	s.write(t, "authorized_keys", ssh.MarshalAuthorizedKey(public))
	host := s.writeKey(t, "host_key")
	s.write(t, "known_hosts", []byte(knownhosts.Line([]string{s.address}, host)+"\n"))
	at, port, _ := net.SplitHostPort(s.address)
	s.write(t, "config", fmt.Appendf(nil, `
Port %s
ListenAddress %[3]s
HostKey %[2]s/host_key
AuthorizedKeysFile %[2]s/authorized_keys
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
PermitRootLogin yes
MaxSessions 50
MaxStartups 100
Subsystem sftp internal-sftp
`, port, s.folder, at))
	if err := os.Mkdir(filepath.Join(s.folder, "files"), 0o700); err != nil {
		t.Fatal(err)
	}
	s.start(t)
	t.Cleanup(func() { s.stop() })
	return s
}

// freeAddress is one that nobody else takes, of a host of its own.
func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", netip.AddrPortFrom(servicetest.Host(), 0).String())
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

func (s *sshServer) write(t *testing.T, name string, data []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(s.folder, name), data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func (s *sshServer) writeKey(t *testing.T, name string) ssh.PublicKey {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	s.write(t, name, pem.EncodeToMemory(block))
	key, err := ssh.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (s *sshServer) start(t *testing.T) {
	t.Helper()
	// A file: its sessions hold what it writes to for longer than it lives.
	output := filepath.Join(s.folder, "output")
	s.command = exec.Command("/usr/sbin/sshd", "-D", "-E", output, "-f", filepath.Join(s.folder, "config"))
	if err := s.command.Start(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		conn, err := net.Dial("tcp", s.address)
		if err == nil {
			conn.Close()
			return
		}
		if time.Now().After(deadline) {
			s.stop()
			said, _ := os.ReadFile(output)
			t.Fatalf("sshd does not listen: %v\n%s", err, said)
		}
	}
}

func (s *sshServer) stop() {
	_ = s.command.Process.Kill()
	_ = s.command.Wait()
}

func (s *sshServer) url() string {
	me, err := user.Current()
	if err != nil {
		panic(err)
	}
	return "sftp://" + me.Username + "@" + s.address + s.folder + "/files"
}

func (s *sshServer) options() TargetOptions {
	return TargetOptions{Key: filepath.Join(s.folder, "key"), KnownHosts: filepath.Join(s.folder, "known_hosts")}
}

func (s *sshServer) target(t *testing.T) Target {
	t.Helper()
	return openTarget(t, s.url(), s.options())
}

func TestAHostWithAnotherKeyIsNotTrusted(t *testing.T) {
	server := startSSH(t)
	server.write(t, "known_hosts", []byte(knownhosts.Line([]string{server.address}, server.writeKey(t, "other"))+"\n"))
	err := server.target(t).Put(t.Context(), "a", strings.NewReader("x"))
	if springtide.KindOf(err) != springtide.Unavailable || !strings.Contains(err.Error(), "key mismatch") {
		t.Errorf("put: %v", err)
	}
	server.write(t, "known_hosts", nil)
	if err := server.target(t).Put(t.Context(), "a", strings.NewReader("x")); springtide.KindOf(err) != springtide.Unavailable {
		t.Errorf("put to an unknown host: %v", err)
	}
}

func TestAHostThatWasAwayIsUsedAgain(t *testing.T) {
	server := startSSH(t)
	target := server.target(t)
	put(t, target, "a", "one")
	server.stop()
	d, err := target.(*tree).connect(t.Context()) // the connection outlives the server that lets others in
	if err != nil {
		t.Fatal(err)
	}
	d.(*remoteDisk).client.Close()
	d.Close()
	if err := target.Put(t.Context(), "b", strings.NewReader("x")); springtide.KindOf(err) != springtide.Unavailable {
		t.Errorf("put while it is away: %v", err)
	}
	server.start(t)
	put(t, target, "b", "two")
	if got := get(t, target, "a"); got != "one" {
		t.Errorf("got %q", got)
	}
}

func TestAKeyMustBeGivenForSFTP(t *testing.T) {
	if _, err := OpenTarget("sftp://me@host/folder", TargetOptions{}); springtide.KindOf(err) != springtide.Invalid {
		t.Errorf("opened: %v", err)
	}
}
