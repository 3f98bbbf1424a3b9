package cert_test

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/cert"
)

// machine is a folder that looks like a machine's root, with commands that note
// how they were called.
type machine struct {
	*testing.T
	root      string
	authority *cert.Authority
}

func newMachine(t *testing.T, store string) *machine {
	m := &machine{T: t, root: t.TempDir(), authority: openAuthority(t, t.TempDir())}
	if store != "" {
		m.folder(store)
	}
	return m
}

func (m *machine) folder(path string) {
	m.Helper()
	if err := os.MkdirAll(filepath.Join(m.root, path), 0o755); err != nil {
		m.Fatal(err)
	}
}

// command makes a shell script that notes its arguments and then runs body.
func (m *machine) command(path, body string) {
	m.Helper()
	m.folder(filepath.Dir(path))
	script := "#!/bin/sh\necho \"${0##*/} $*\" >> " + m.root + "/calls\n" + body + "\n"
	if err := os.WriteFile(filepath.Join(m.root, path), []byte(script), 0o755); err != nil {
		m.Fatal(err)
	}
}

func (m *machine) trust() cert.Trust {
	return cert.Trust{Root: m.root, Home: filepath.Join(m.root, "home")}
}

func (m *machine) calls() string {
	text, err := os.ReadFile(filepath.Join(m.root, "calls"))
	if err != nil && !os.IsNotExist(err) {
		m.Fatal(err)
	}
	return string(text)
}

func (m *machine) files(store string) []string {
	m.Helper()
	found, err := filepath.Glob(filepath.Join(m.root, store, "springtide-*.crt"))
	if err != nil {
		m.Fatal(err)
	}
	return found
}

func TestTheSystemTrustsAnInstalledAuthorityUntilItIsUninstalled(t *testing.T) {
	for store, update := range map[string]string{
		"/usr/local/share/ca-certificates": "update-ca-certificates",
		"/etc/pki/ca-trust/source/anchors": "update-ca-trust",
	} {
		t.Run(update, func(t *testing.T) {
			m := newMachine(t, store)
			m.command("/usr/sbin/"+update, "")
			for range 2 { // the second time changes nothing
				if _, err := m.trust().Install(t.Context(), m.authority.PEM()); err != nil {
					t.Fatal(err)
				}
			}
			files := m.files(store)
			if len(files) != 1 {
				t.Fatalf("got %v", files)
			}
			if text, err := os.ReadFile(files[0]); err != nil || string(text) != string(m.authority.PEM()) {
				t.Errorf("the file holds %q (%v)", text, err)
			}
			if calls := m.calls(); calls != update+" \n" {
				t.Errorf("called: %q", calls)
			}
			for range 2 {
				if _, err := m.trust().Uninstall(t.Context(), m.authority.PEM()); err != nil {
					t.Fatal(err)
				}
			}
			if files, calls := m.files(store), m.calls(); len(files) > 0 || strings.Count(calls, update) != 2 {
				t.Errorf("left: %v, called: %q", files, calls)
			}
		})
	}
}

func TestADryRunOnlySaysWhatWouldBeDone(t *testing.T) {
	m := newMachine(t, "/usr/local/share/ca-certificates")
	m.command("/usr/sbin/update-ca-certificates", "")
	trust := m.trust()
	trust.DryRun = true
	report, err := trust.Install(t.Context(), m.authority.PEM())
	if err != nil {
		t.Fatal(err)
	}
	said := strings.Join(report, "\n")
	for _, want := range []string{"would write /usr/local/share/ca-certificates/springtide-", "would run update-ca-certificates"} {
		if !strings.Contains(said, want) {
			t.Errorf("%q is missing in %q", want, said)
		}
	}
	if files, calls := m.files("/usr/local/share/ca-certificates"), m.calls(); len(files) > 0 || calls != "" {
		t.Errorf("done: %v %q", files, calls)
	}
}

func TestAnUpdateThatFailsIsToldAndLeavesNothing(t *testing.T) {
	m := newMachine(t, "/usr/local/share/ca-certificates")
	m.command("/usr/sbin/update-ca-certificates", "echo first; echo no space left >&2; exit 1")
	_, err := m.trust().Install(t.Context(), m.authority.PEM())
	if springtide.KindOf(err) != springtide.Failed || !strings.Contains(err.Error(), "no space left") {
		t.Errorf("got %v", err)
	}
	if files := m.files("/usr/local/share/ca-certificates"); len(files) > 0 {
		t.Errorf("left: %v", files)
	}
}

func TestAUserWithoutTheRightIsToldTheCommandThatHasIt(t *testing.T) {
	store := "/usr/local/share/ca-certificates"
	m := newMachine(t, store)
	m.command("/usr/sbin/update-ca-certificates", "")
	// The folder of a test's folders is closed to others.
	for path, mode := range map[string]os.FileMode{filepath.Dir(m.root): 0o755, filepath.Join(m.root, store): 0o555} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	asOrdinaryUser(t)
	_, err := m.trust().Install(t.Context(), m.authority.PEM())
	if springtide.KindOf(err) != springtide.Denied {
		t.Fatalf("got %v", err)
	}
	for _, want := range []string{"run: tide trust --print | sudo tee " + store + "/springtide-", "&& sudo update-ca-certificates"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing in %q", want, err)
		}
	}
	if calls := m.calls(); calls != "" {
		t.Errorf("called: %q", calls)
	}
}

// asOrdinaryUser makes the test's own thread touch files as nobody, if it is root.
func asOrdinaryUser(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		return
	}
	runtime.LockOSThread()
	if _, err := unix.SetfsuidRetUid(65534); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = unix.Setfsuid(0)
		runtime.UnlockOSThread()
	})
}

func TestAnUnknownSystemIsToldHowToDoItByHand(t *testing.T) {
	_, err := newMachine(t, "").trust().Install(t.Context(), openAuthority(t, t.TempDir()).PEM())
	if err == nil || !strings.Contains(err.Error(), "tide trust --print") {
		t.Errorf("got %v", err)
	}
}

func TestWhatIsNoCertificateIsRefused(t *testing.T) {
	_, err := newMachine(t, "").trust().Install(t.Context(), []byte("nonsense"))
	if springtide.KindOf(err) != springtide.Invalid {
		t.Errorf("got %v", err)
	}
}

func TestBrowsersTrustAnInstalledAuthority(t *testing.T) {
	m := newMachine(t, "/usr/local/share/ca-certificates")
	m.command("/usr/sbin/update-ca-certificates", "")
	// certutil keeps what it is given in a file of the database's folder.
	m.command("/usr/bin/certutil", `
		case $1 in
		-L) test -f "${3#sql:}/added" ;;
		-A) cat > "${4#sql:}/added" ;;
		-D) rm "${3#sql:}/added" ;;
		esac`)
	databases := []string{"/home/.pki/nssdb", "/home/.mozilla/firefox/x.default"}
	for _, database := range databases {
		m.folder(database)
		if err := os.WriteFile(filepath.Join(m.root, database, "cert9.db"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	report, err := m.trust().Install(t.Context(), m.authority.PEM())
	if err != nil {
		t.Fatal(err)
	}
	for _, database := range databases {
		path := filepath.Join(m.root, database)
		if text, err := os.ReadFile(filepath.Join(path, "added")); err != nil || string(text) != string(m.authority.PEM()) {
			t.Errorf("%s was given %q (%v)", database, text, err)
		}
		if !strings.Contains(strings.Join(report, "\n"), "trusted by "+path) {
			t.Errorf("%s is missing in %q", path, report)
		}
	}
	if report, err = m.trust().Install(t.Context(), m.authority.PEM()); err != nil || strings.Count(strings.Join(report, "\n"), "has it already") != 2 {
		t.Errorf("the second time: %q %v", report, err)
	}
	if report, err = m.trust().Uninstall(t.Context(), m.authority.PEM()); err != nil || strings.Count(strings.Join(report, "\n"), "removed from") != 2 {
		t.Errorf("uninstalled: %q %v", report, err)
	}
}

func TestMissingCertutilIsToldOnlyWhereThereAreBrowsers(t *testing.T) {
	m := newMachine(t, "/usr/local/share/ca-certificates")
	m.command("/usr/sbin/update-ca-certificates", "")
	report, err := m.trust().Install(t.Context(), m.authority.PEM())
	if err != nil || strings.Contains(strings.Join(report, "\n"), "certutil") {
		t.Errorf("without browsers: %q %v", report, err)
	}
	m.folder("/home/.pki/nssdb")
	if err := os.WriteFile(filepath.Join(m.root, "/home/.pki/nssdb/cert9.db"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	report, err = m.trust().Install(t.Context(), m.authority.PEM())
	if err != nil || !strings.Contains(strings.Join(report, "\n"), "certutil is missing") {
		t.Errorf("with a browser: %q %v", report, err)
	}
}
