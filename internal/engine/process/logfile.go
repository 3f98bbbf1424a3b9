package process

import (
	"bufio"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/engine/process/order"
)

// sidecar lies beside a log and says whose output it is: it outlives the
// instance's folder, as the log does.
type sidecar struct {
	Instance springtide.InstanceID  `json:"instance"`
	Process  springtide.ProcessName `json:"process,omitempty"`
	Release  int                    `json:"release"`
}

func sidecarOf(logs string, instance springtide.InstanceID) string {
	return filepath.Join(logs, string(instance)+".json")
}

func writeSidecar(logs string, s spec) error {
	return folder(logs).writeJSON(filepath.Base(sidecarOf(logs, s.Instance)),
		sidecar{Instance: s.Instance, Process: s.Group.ID.Process, Release: s.Group.ID.Release})
}

// source is the output of one instance or task: the file in force, and the one
// before it (path + ".1").
type source struct {
	path  string
	owner sidecar

	// What the follower has read so far.
	file   *os.File
	offset int64
	over   bool // nothing more will come
}

// entry is one line of output before it becomes JSON.
type entry struct {
	nanoseconds int64
	stream      order.Stream
	text        string
	owner       *sidecar
}

func (e entry) line() springtide.LogLine {
	names := map[order.Stream]string{order.Stdout: "stdout", order.Stderr: "stderr", order.Tide: "tide"}
	return springtide.LogLine{
		Time: time.Unix(0, e.nanoseconds).UTC(), Instance: e.owner.Instance, Process: e.owner.Process,
		Release: e.owner.Release, Stream: names[e.stream], Text: strings.ToValidUTF8(e.text, "\ufffd"),
	}
}

func (s *source) close() {
	if s.file != nil {
		s.file.Close()
		s.file = nil
	}
}

// begin opens the files and gives a reader of what is there now, the older file
// first. What comes later is read by more. Lines before since may be left out.
func (s *source) begin(since time.Time) (io.Reader, func(), error) {
	// The file in force is opened first: if it is renamed meanwhile it is read
	// twice as one and the same, which can be told.
	file, err := os.Open(s.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, err
	}
	older, err := os.Open(s.path + ".1")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		if file != nil {
			file.Close()
		}
		return nil, nil, err
	}
	var readers []io.Reader
	done := func() {
		if older != nil {
			older.Close()
		}
	}
	if older != nil && (file == nil || !sameFile(file, older)) {
		if info, err := older.Stat(); err == nil && !info.ModTime().Add(time.Second).Before(since) {
			readers = append(readers, older)
		}
	}
	if file != nil {
		info, err := file.Stat()
		if err != nil {
			done()
			file.Close()
			return nil, nil, err
		}
		s.file, s.offset = file, wholeLines(file, info.Size())
		if !info.ModTime().Add(time.Second).Before(since) {
			readers = append(readers, io.NewSectionReader(file, 0, s.offset))
		}
	}
	return io.MultiReader(readers...), done, nil
}

// wholeLines gives the offset after the last line feed before end.
func wholeLines(file *os.File, end int64) int64 {
	buffer := make([]byte, 4096)
	for end > 0 {
		start := max(end-int64(len(buffer)), 0)
		n, err := file.ReadAt(buffer[:end-start], start)
		if err != nil && !errors.Is(err, io.EOF) {
			return 0
		}
		for n--; n >= 0; n-- {
			if buffer[n] == '\n' {
				return start + int64(n) + 1
			}
		}
		end = start
	}
	return 0
}

func sameFile(a, b *os.File) bool {
	first, err1 := a.Stat()
	second, err2 := b.Stat()
	return err1 == nil && err2 == nil && os.SameFile(first, second)
}

// more reads the whole lines that were added since, also over a rotation.
func (s *source) more(take func(entry)) {
	for range 3 {
		if s.file == nil {
			file, err := os.Open(s.path)
			if err != nil {
				return
			}
			s.file, s.offset = file, 0
		}
		// Whether it is still the file in force is asked before it is read: once it
		// is not, nothing more is written to it.
		current, err := os.Stat(s.path)
		own, err2 := s.file.Stat()
		rotated := err == nil && err2 == nil && !os.SameFile(current, own)
		if err2 == nil && own.Size() > s.offset || rotated {
			info, err := s.file.Stat()
			if err != nil {
				return
			}
			end := wholeLines(s.file, info.Size())
			if end > s.offset {
				scan(io.NewSectionReader(s.file, s.offset, end-s.offset), &s.owner, func(e entry) bool { take(e); return true })
				s.offset = end
			}
		}
		if !rotated {
			return
		}
		s.close()
	}
}

// scan reads lines until take returns false. Lines that are none are left out: a
// full disk may have left parts.
func scan(reader io.Reader, owner *sidecar, take func(entry) bool) {
	lines := bufio.NewReaderSize(reader, 64<<10)
	var long []byte
	for {
		part, err := lines.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			if long = append(long, part...); len(long) > 2*order.LongestLine {
				long = long[:0] // Not a line of ours.
			}
			continue
		}
		if err != nil {
			return // A last line without its end is not whole.
		}
		if len(long) > 0 {
			part = append(long, part...)
			long = long[:0]
		}
		nanoseconds, stream, text, ok := order.ParseLine(part[:len(part)-1])
		if ok && !take(entry{nanoseconds, stream, string(text), owner}) {
			return
		}
	}
}

// lastLines gives the last lines that the command itself wrote since then.
func lastLines(logs, name string, since time.Time, count int) []string {
	s := source{path: filepath.Join(logs, name)}
	reader, done, err := s.begin(since)
	if err != nil {
		return nil
	}
	defer done()
	defer s.close()
	var lines []string
	scan(reader, &s.owner, func(e entry) bool {
		if e.stream != order.Tide && e.nanoseconds >= since.UnixNano() {
			if len(lines) == count {
				lines = append(lines[:0], lines[1:]...)
			}
			lines = append(lines, strings.ToValidUTF8(e.text, "\ufffd"))
		}
		return true
	})
	return lines
}
