package service

import (
	"errors"
	"io"
	"os"
	"strings"
)

// logName is what a server's output goes to. It is appended to, so that it can be
// cut while it is written. It is opened below the server's folder only: there
// its user might put links to anywhere.
const logName = "log/server.log"

// logLimit bounds the output of a server, in bytes; as much again is kept of what
// was before it.
const logLimit = 16 << 20

func openLog(folder string) (*os.File, error) {
	root, err := os.OpenRoot(folder)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	return root.OpenFile(logName, os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o600)
}

// boundLog keeps the output below the limit: what is there becomes the older
// file, of which there is one.
func boundLog(folder string, limit int64) error {
	file, err := openLog(folder)
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil || info.Size() <= limit {
		return err
	}
	root, err := os.OpenRoot(folder)
	if err != nil {
		return err
	}
	defer root.Close()
	older, err := root.OpenFile(logName+".1", os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	// The end of it, should it have grown far while nobody looked.
	_, err = io.Copy(older, io.NewSectionReader(file, max(0, info.Size()-limit), limit))
	return errors.Join(err, older.Close(), file.Truncate(0))
}

// lastLine is the end of a server's output, to say why it ended.
func lastLine(folder string) string {
	file, err := openLog(folder)
	if err != nil {
		return ""
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return ""
	}
	const tail = 4 << 10
	data, _ := io.ReadAll(io.NewSectionReader(file, max(0, info.Size()-tail), tail))
	lines := strings.Split(strings.TrimSpace(strings.ToValidUTF8(string(data), "\ufffd")), "\n")
	return strings.TrimSpace(lines[len(lines)-1])
}
