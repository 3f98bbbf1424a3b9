package redis

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/service"
)

// programLink is the name in a server's folder by which its program is started.
// The program is what its name says: Debian's server is in package redis-tools
// too, as redis-check-rdb.
const programLink = "redis-server"

// oldest is the first version with all we use.
const oldest = 7

// program is an installed server.
type program struct {
	path    string
	version int // the major one
}

// installed gives the programs, the one to be preferred first.
func installed() []program {
	var all []program
	for _, name := range []string{"valkey-server", "redis-server", "redis-check-rdb"} {
		path, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		if path, err = filepath.Abs(path); err != nil {
			continue
		}
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		command := exec.CommandContext(ctx, path, "--version")
		command.Args[0] = programLink
		output, err := command.Output()
		cancel()
		if version := parseVersion(output); err == nil && version >= oldest {
			all = append(all, program{path: path, version: version})
		}
	}
	return all
}

var versionPattern = regexp.MustCompile(`\bv=(\d{1,4})\.`)

// parseVersion reads "Redis server v=7.0.15 sha=…"; 0 if it is not that.
func parseVersion(output []byte) int {
	if found := versionPattern.FindSubmatch(output); found != nil {
		version, _ := strconv.Atoi(string(found[1]))
		return version
	}
	return 0
}

// Versions gives the major ones.
func (Driver) Versions() []string {
	var numbers []int
	for _, one := range installed() {
		numbers = append(numbers, one.version)
	}
	slices.Sort(numbers)
	slices.Reverse(numbers)
	var versions []string
	for _, number := range slices.Compact(numbers) {
		versions = append(versions, strconv.Itoa(number))
	}
	return versions
}

// Hint says how a server is installed.
func (Driver) Hint(string) string { return "apt-get install redis-server" }

// link makes the name by which the server is started, unless it is there.
func link(server service.Server) error {
	path := filepath.Join(server.Folder, programLink)
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	for _, one := range installed() {
		if strconv.Itoa(one.version) == server.Version {
			if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
			return os.Symlink(one.path, path)
		}
	}
	return springtide.Errorf(springtide.Invalid, "redis %s is not installed", server.Version).WithHint("run: %s", Driver{}.Hint(server.Version))
}

// checker finds the program that reads through a copy of data; it comes with the
// server.
func checker(server service.Server) (string, error) {
	path, err := filepath.EvalSymlinks(filepath.Join(server.Folder, programLink))
	if err != nil {
		return "", err
	}
	for _, name := range []string{"valkey-check-rdb", "redis-check-rdb"} {
		beside := filepath.Join(filepath.Dir(path), name)
		if _, err := os.Stat(beside); err == nil {
			return beside, nil
		}
	}
	return "", springtide.Errorf(springtide.Unavailable, "there is no redis-check-rdb beside %s", path).WithHint("run: apt-get install redis-tools")
}
