package story

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/nftables"
)

// NothingLeft fails the test if anything of the platform that ran on a data
// folder still runs, or if the machine still has one of its networks or control
// groups.
func NothingLeft(t testing.TB, data string) {
	t.Helper()
	for _, remnant := range Remnants(data) {
		t.Errorf("left behind: %s", remnant)
	}
}

// Remnants lists what a platform on a data folder has left on the machine.
// What is just ending is given a while.
func Remnants(data string) []string {
	var found []string
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		found = append(processes(data), kernelObjects(data)...)
		if len(found) == 0 || time.Now().After(deadline) {
			return found
		}
	}
}

// processes lists those that have to do with a folder: by their arguments, their
// program, where they are, or what they have in their environment.
func processes(folder string) []string {
	var found []string
	folders, _ := filepath.Glob("/proc/[0-9]*") // the pattern is right
	for _, process := range folders {
		if process == fmt.Sprint("/proc/", os.Getpid()) {
			continue
		}
		arguments, err := os.ReadFile(filepath.Join(process, "cmdline"))
		if err != nil || len(arguments) == 0 { // it has ended
			continue
		}
		environment, _ := os.ReadFile(filepath.Join(process, "environ")) // another user's is not ours to read
		about := [][]byte{arguments, settings(environment)}
		for _, link := range []string{"exe", "cwd", "root"} {
			target, _ := os.Readlink(filepath.Join(process, link))
			about = append(about, []byte(target))
		}
		if bytes.Contains(bytes.Join(about, []byte("\n")), []byte(folder)) {
			found = append(found, fmt.Sprintf("process %s: %s", filepath.Base(process), bytes.ReplaceAll(arguments, []byte{0}, []byte(" "))))
		}
	}
	return found
}

// settings gives what of an environment an instance got from its platform; a
// test's own processes know the data folder too.
func settings(environment []byte) []byte {
	var kept [][]byte
	for pair := range bytes.SplitSeq(environment, []byte{0}) {
		if bytes.HasPrefix(pair, []byte("HOME=")) || bytes.HasPrefix(pair, []byte("TMPDIR=")) {
			kept = append(kept, pair)
		}
	}
	return bytes.Join(kept, []byte("\n"))
}

// kernelObjects lists bridges, links, firewall tables and control groups, which
// are named for the data folder.
func kernelObjects(data string) []string {
	sum := sha256.Sum256([]byte(data))
	short := hex.EncodeToString(sum[:4])
	var found []string
	interfaces, _ := net.Interfaces()
	for _, i := range interfaces {
		if i.Name == "tide"+short || strings.HasPrefix(i.Name, "t"+short) {
			found = append(found, "link "+i.Name)
		}
	}
	if connection, err := nftables.New(); err == nil && os.Getuid() == 0 {
		tables, _ := connection.ListTables()
		for _, table := range tables {
			if table.Name == "tide"+short {
				found = append(found, "firewall table "+table.Name)
			}
		}
	}
	_ = filepath.WalkDir("/sys/fs/cgroup", func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() && entry.Name() == "tide"+short {
			found = append(found, "control group "+path)
		}
		return nil // a group that went away meanwhile is no error
	})
	return found
}
