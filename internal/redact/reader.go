package redact

import "io"

// Reader gives what from gives, without the values.
func (r *Redactor) Reader(from io.Reader) io.Reader {
	if r == nil {
		return from
	}
	return &reader{from: from, filter: r.Filter()}
}

type reader struct {
	from   io.Reader
	filter *Filter
	buffer []byte // keeps its memory
	ready  []byte // the part of it that nobody has read yet
	err    error
}

// Read implements io.Reader.
func (r *reader) Read(p []byte) (int, error) {
	for len(r.ready) == 0 && len(p) > 0 {
		if r.err != nil {
			return 0, r.err
		}
		var n int
		n, r.err = r.from.Read(p)
		r.buffer = r.filter.Append(r.buffer[:0], p[:n])
		if r.err != nil {
			r.buffer = r.filter.Flush(r.buffer)
		}
		r.ready = r.buffer
	}
	n := copy(p, r.ready)
	r.ready = r.ready[n:]
	return n, nil
}
