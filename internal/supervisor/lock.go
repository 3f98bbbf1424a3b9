package supervisor

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/springtide/springtide"
)

// Lock takes a lock file for this process and writes its PID into it. The lock
// ends with the process, or when the file is closed. A lock that another
// process holds is an error of kind Conflict.
func Lock(path string) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := lock(file); err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}

func lock(file *os.File) error {
	// A lock of the open file: unlike that of flock(2) it can be asked about
	// without being taken.
	err := unix.FcntlFlock(file.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK})
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
		return springtide.Errorf(springtide.Conflict, "another tide (PID %d) runs on %s", Holder(file.Name()), filepath.Dir(file.Name())).
			WithHint("use it as it is, or choose another folder with --data")
	}
	if err != nil {
		return fmt.Errorf("lock %s: %w", file.Name(), err)
	}
	// In place, which a full disk takes.
	text := fmt.Sprintf("%d\n", os.Getpid())
	if _, err := file.WriteAt([]byte(text), 0); err != nil {
		return err
	}
	return file.Truncate(int64(len(text)))
}

// Holder gives the PID of the process that holds a lock file; 0 if none does.
func Holder(path string) int {
	file, err := os.Open(path)
	if err != nil {
		return 0
	}
	defer file.Close()
	asked := unix.Flock_t{Type: unix.F_WRLCK}
	if err := unix.FcntlFlock(file.Fd(), unix.F_OFD_GETLK, &asked); err != nil || asked.Type == unix.F_UNLCK {
		return 0
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0
	}
	return pid
}
