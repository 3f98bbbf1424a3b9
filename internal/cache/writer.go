package cache

import (
	"slices"

	"github.com/springtide/springtide/internal/message"
)

// Writer stores a response while it is relayed. It is never in the way: what cannot
// be stored is not. Nothing of it is served as a whole before Commit.
type Writer struct {
	fetch  *Fetch
	record record
	// buffer is the body so far, or of one in slices the slice so far, after room for
	// the head of a block.
	buffer []byte
	// next is where in the body the next byte belongs, begin where the first did, end
	// where the last does: -1 if that is not known.
	begin, next, end int64
	// length is of the whole body: -1 if it is not known.
	length int64
	// published says that the record is there, with the number in entry, and slices
	// are found as they come.
	published, failed bool
	entry             uint64
	// current is the flight of the slice that is being written.
	current *flight
}

// begin gives a writer for a response, or nil if it must not or cannot be stored. Got
// is what of the body will come, length that of all of it; -1 where it is not known.
func (f *Fetch) begin(now int64, response *message.Response, got span, length int64) *Writer {
	if !storable(&f.asked, f.rule, response) || length > f.cache.options.MaxObject || f.invalidation != f.cache.change(f.primary).invalidation.Load() {
		return nil
	}
	w := &Writer{fetch: f, begin: got.from, next: got.from, end: got.to, length: length}
	w.record = record{
		key: f.key.clone(), status: response.Status, fields: storedFields(response.Fields, httpDate(now)),
		requested: f.began, received: now, ttl: f.rule.TTL, stale: f.rule.Stale, purged: f.purged,
		tags: tagsOf(response.Fields, f.rules), identity: f.rule.Identity, specification: specificationOf(response.Fields, f.rule),
	}
	if response.Status == 206 { // a part of what would have been this
		w.record.status = 200
		w.record.fields = slices.DeleteFunc(w.record.fields, func(field message.Field) bool { return equalFold(field.Name, "Content-Range") })
	}
	if w.record.specification != "" {
		selecting := appendSelecting(nil, f.request.Fields, w.record.specification)
		if len(selecting) > longestSelecting {
			return nil
		}
		w.record.selecting = string(selecting)
	}
	probe := newEntry(0, w.record)
	whole := got.from == 0 && got.to == length
	if !worthStoring(probe) || !whole && !probe.strong {
		return nil
	}
	w.buffer = newBuffer(length)
	switch {
	case length > sliceSize:
		w.slice(probe)
	case !whole: // a part of a body that is not kept in parts
		return nil
	}
	f.cache.lastUnstored(f.primary).CompareAndSwap(f.primary, 0)
	return w
}

// slice goes over to keeping the body in slices. One that can be put together from
// parts is found from now on.
func (w *Writer) slice(probe *entry) {
	w.record.object, w.record.length = randomNumber(), w.length
	if !probe.strong || w.length < 0 {
		return
	}
	f := w.fetch
	if known, _, _ := f.cache.choose(f.request.Fields, &f.key, f.primary); known != nil && known.object != 0 &&
		known.length == w.length && known.etag == probe.etag && known.modified == probe.modified {
		w.record.object = known.object
	}
	e := newEntry(f.id, w.record)
	w.published = f.cache.publish(e, f.primary, f.invalidation)
	w.entry = e.id
	if w.failed = !w.published; w.failed {
		w.record.object = 0
		return
	}
	f.cache.count.stored.Add(1)
	w.announce()
	f.End() // who waits for the whole need not
}

// newBuffer has room for the head of a block, and for so much of a body if that is known.
func newBuffer(expected int64) []byte {
	return make([]byte, blockHead, int64(blockHead)+min(max(expected, 512), sliceSize))
}

// resume gives a writer for slices that a stored body lacks.
func (f *Fetch) resume(got span) *Writer {
	return &Writer{
		fetch: f, record: f.stored.record, begin: got.from, next: got.from, end: got.to, length: f.stored.length,
		buffer: newBuffer(sliceSize), published: true, entry: f.stored.id,
	}
}

// announce has those who want the slice that comes next wait for it.
func (w *Writer) announce() {
	if w.next >= w.end {
		return
	}
	if flight, leads := w.fetch.cache.flights.join(sliceKey{w.record.object, w.next / sliceSize}.hash()); leads {
		w.current = flight
	}
}

// Write takes what comes of the body.
func (w *Writer) Write(data []byte) {
	for len(data) > 0 && !w.failed {
		position := w.next + int64(len(w.buffer)-blockHead)
		if w.end >= 0 && position+int64(len(data)) > w.end || position+int64(len(data)) > w.fetch.cache.options.MaxObject {
			w.fail()
			return
		}
		room := blockHead + sliceSize - len(w.buffer)
		part := data[:min(room, len(data))]
		data = data[len(part):]
		w.buffer = append(w.buffer, part...)
		if len(w.buffer) == blockHead+sliceSize && (len(data) > 0 || w.record.object != 0) {
			if w.record.object == 0 {
				w.record.object = randomNumber()
			}
			w.flush()
		}
	}
}

// flush stores the slice that is complete.
func (w *Writer) flush() {
	number := w.next / sliceSize
	w.next += int64(len(w.buffer) - blockHead)
	w.fetch.cache.keepSlice(w.record.object, number, w.buffer)
	w.buffer = newBuffer(w.end - w.next)
	if w.current != nil {
		w.fetch.cache.flights.land(w.current)
		w.current = nil
	}
	w.landSlice(number)
	if w.published {
		w.announce()
	}
}

// landSlice ends the flight of a slice that was fetched for a body under way.
func (w *Writer) landSlice(number int64) {
	key := sliceKey{w.record.object, number}.hash()
	w.fetch.flights = slices.DeleteFunc(w.fetch.flights, func(flight *flight) bool {
		if flight.key == key {
			w.fetch.cache.flights.land(flight)
		}
		return flight.key == key
	})
}

// Commit says that the body ended where it should. It is stored now, unless it is
// shorter than it said.
func (w *Writer) Commit() {
	defer w.close()
	rest := int64(len(w.buffer) - blockHead)
	if w.failed || w.end >= 0 && w.next+rest != w.end {
		return
	}
	if w.record.object == 0 {
		w.record.bodies = []body{{bytes: slices.Clip(w.buffer[blockHead:])}}
	} else if w.length < 0 || w.next+rest == w.length {
		if w.length < 0 {
			w.length = w.next + rest
			w.record.length = w.length
		}
		if rest > 0 {
			w.flush()
		}
	}
	if !w.published {
		f := w.fetch
		if f.cache.publish(newEntry(f.id, w.record), f.primary, f.invalidation) {
			f.cache.count.stored.Add(1)
		}
	}
}

// Abort says that the body did not come whole. What is complete of one that is kept in
// slices stays, if it can be put together again.
func (w *Writer) Abort() {
	w.failed = true
	w.close()
}

func (w *Writer) fail() {
	w.failed, w.buffer = true, nil
	if w.published { // it is longer than it was said to be
		w.fetch.cache.remove(w.entry)
	}
}

func (w *Writer) close() {
	if w.failed && !w.published && w.record.object != 0 { // nothing will find them
		for number := range w.next / sliceSize {
			w.fetch.cache.removeSlice(w.record.object, number)
		}
	}
	w.buffer = nil
	if w.current != nil {
		w.fetch.cache.flights.land(w.current)
		w.current = nil
	}
	w.fetch.End()
}
