package build

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// After the last number processes are numbered from the beginning again. A child
// then has a lower number than the shell that waits for it, and is found before it.
func TestAShellDoesNotTellThatItsChildWasEndedWithIt(t *testing.T) {
	const inside = "TIDE_TEST_NUMBERS"
	if os.Getenv(inside) == "" {
		if os.Geteuid() != 0 {
			t.Skip("only root says which number a process gets")
		}
		// In a namespace of its own, whose numbers are nobody else's.
		again := exec.Command("unshare", "--pid", "--fork", "--mount-proc", os.Args[0], "-test.run=^"+t.Name()+"$")
		again.Env = append(os.Environ(), inside+"=1")
		if output, err := again.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, output)
		}
		return
	}
	folder := t.TempDir()
	said, err := os.Create(filepath.Join(folder, "said"))
	if err != nil {
		t.Fatal(err)
	}
	defer said.Close()
	for range 5 {
		if err := os.WriteFile("/proc/sys/kernel/ns_last_pid", []byte("20000"), 0); err != nil {
			t.Fatal(err)
		}
		// Others are found between the first child and the shell: it had time to speak.
		shell := exec.Command("sh", "-c", `
			echo 1000 > /proc/sys/kernel/ns_last_pid
			sleep 1000 & first=$!
			for i in $(seq 200); do sleep 1000 & done
			echo started
			wait $first`)
		shell.Env = append(os.Environ(), marker+"="+folder)
		shell.Stderr = said
		output, err := shell.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := shell.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := output.Read(make([]byte, 100)); err != nil {
			t.Fatal(err)
		}
		evict(folder)
		if err := shell.Wait(); err == nil {
			t.Error("the shell was not killed")
		}
	}
	if words, err := os.ReadFile(said.Name()); err != nil || len(words) > 0 {
		t.Errorf("it said %q, %v", words, err)
	}
}
