package files

import (
	"encoding/json"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// Attributes are what S3 keeps with a file besides its content. They lie in an
// extended attribute; a file system without those keeps none, and the type is
// told from the name then.
type Attributes struct {
	ETag        string            `json:"etag,omitempty"`
	ContentType string            `json:"type,omitempty"`
	Headers     map[string]string `json:"headers,omitempty"`  // Cache-Control and its like
	Metadata    map[string]string `json:"metadata,omitempty"` // the user's own
}

const (
	attribute      = "user.springtide"
	attributeLimit = 8 << 10
)

// kept are attributes with what the file was when they were written: whoever
// changes the content directly makes the ETag void.
type kept struct {
	Attributes
	Size     int64 `json:"size"`
	Modified int64 `json:"modified"`
}

func readAttributes(file *os.File, info fs.FileInfo) Attributes {
	text := make([]byte, attributeLimit)
	n, err := unix.Fgetxattr(int(file.Fd()), attribute, text)
	var found kept
	if err != nil || json.Unmarshal(text[:n], &found) != nil {
		return Attributes{}
	}
	if found.Size != info.Size() || found.Modified != info.ModTime().UnixNano() {
		found.ETag = ""
	}
	return found.Attributes
}

// write keeps the attributes with the file, whose content is whole. It reports
// whether they are kept.
func (a Attributes) write(file *os.File) (bool, error) {
	info, err := file.Stat()
	if err != nil {
		return false, err
	}
	text, err := json.Marshal(kept{a, info.Size(), info.ModTime().UnixNano()})
	if err != nil || len(text) > attributeLimit {
		return false, err
	}
	return unix.Fsetxattr(int(file.Fd()), attribute, text, 0) == nil, nil
}
