package demand

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"io"
	"math"
	"time"

	"github.com/springtide/springtide"
)

// hour is the demand of an hour, by minute; those without a time are not known.
type hour [60]springtide.Minute

// packing is the first byte of a packed hour.
const packing = 1

// largestHour bounds what is unpacked.
const largestHour = 64 << 10

// column is a figure of a minute as a whole number.
type column struct {
	get func(*springtide.Minute) int64
	set func(*springtide.Minute, int64)
}

// columns are in the order in which they are packed: add new ones at the end.
func columns() []column {
	return []column{
		{func(m *springtide.Minute) int64 { return int64(m.Requests) }, func(m *springtide.Minute, n int64) { m.Requests = int(n) }},
		{func(m *springtide.Minute) int64 { return int64(m.Failed) }, func(m *springtide.Minute, n int64) { m.Failed = int(n) }},
		{func(m *springtide.Minute) int64 { return scaled(m.Concurrency, 100) }, func(m *springtide.Minute, n int64) { m.Concurrency = float64(n) / 100 }},
		{func(m *springtide.Minute) int64 { return int64(m.Peak) }, func(m *springtide.Minute, n int64) { m.Peak = int(n) }},
		{func(m *springtide.Minute) int64 { return int64(m.Held) }, func(m *springtide.Minute, n int64) { m.Held = int(n) }},
		{func(m *springtide.Minute) int64 { return int64(m.Service / (100 * time.Microsecond)) }, func(m *springtide.Minute, n int64) { m.Service = time.Duration(n) * 100 * time.Microsecond }},
		{func(m *springtide.Minute) int64 { return int64(m.P95 / (100 * time.Microsecond)) }, func(m *springtide.Minute, n int64) { m.P95 = time.Duration(n) * 100 * time.Microsecond }},
		{func(m *springtide.Minute) int64 { return scaled(m.Need, 10) }, func(m *springtide.Minute, n int64) { m.Need = float64(n) / 10 }},
		{func(m *springtide.Minute) int64 { return int64(m.Instances) }, func(m *springtide.Minute, n int64) { m.Instances = int(n) }},
		{func(m *springtide.Minute) int64 { return int64(m.CPU / time.Millisecond) }, func(m *springtide.Minute, n int64) { m.CPU = time.Duration(n) * time.Millisecond }},
		{func(m *springtide.Minute) int64 { return m.Memory >> 16 }, func(m *springtide.Minute, n int64) { m.Memory = n << 16 }},
	}
}

func scaled(x float64, by float64) int64 { return int64(math.Round(x * by)) }

// pack makes bytes of an hour: which minutes are known, then each column as the
// differences from one of them to the next, compressed.
func pack(h *hour) []byte {
	var known uint64
	for i := range h {
		if !h[i].Time.IsZero() {
			known |= 1 << i
		}
	}
	plain := binary.LittleEndian.AppendUint64(nil, known)
	for _, c := range columns() {
		last := int64(0)
		for i := range h {
			if known&(1<<i) != 0 {
				n := max(c.get(&h[i]), 0)
				plain = binary.AppendVarint(plain, n-last)
				last = n
			}
		}
	}
	var packed bytes.Buffer
	packed.WriteByte(packing)
	w, err := flate.NewWriter(&packed, flate.BestCompression)
	if err != nil {
		panic(err) // the level is wrong
	}
	_, _ = w.Write(plain) // a buffer takes everything
	_ = w.Close()
	return packed.Bytes()
}

// unpack reads what pack gave. What is not whole is an error of kind Failed.
func unpack(packed []byte, began time.Time) (*hour, error) {
	h := new(hour)
	spoilt := springtide.Errorf(springtide.Failed, "the demand of %s cannot be read", began.UTC().Format(time.RFC3339))
	if len(packed) == 0 || packed[0] != packing {
		return h, spoilt
	}
	plain, err := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(packed[1:])), largestHour))
	if err != nil || len(plain) < 8 {
		return h, spoilt
	}
	known, rest := binary.LittleEndian.Uint64(plain), plain[8:]
	for i := range h {
		if known&(1<<i) != 0 {
			h[i].Time = began.Add(time.Duration(i) * time.Minute)
		}
	}
	for _, c := range columns() {
		last := int64(0)
		for i := range h {
			if known&(1<<i) == 0 {
				continue
			}
			difference, read := binary.Varint(rest)
			if last += difference; read <= 0 || last < 0 || last > 1<<47 {
				return new(hour), spoilt
			}
			rest = rest[read:]
			c.set(&h[i], last)
		}
	}
	return h, nil
}

// join adds to a minute what another control plane knew of it.
func join(m *springtide.Minute, before springtide.Minute) {
	if requests := m.Requests + before.Requests; requests > 0 {
		m.Service = time.Duration((float64(m.Service)*float64(m.Requests) + float64(before.Service)*float64(before.Requests)) / float64(requests))
		m.Requests = requests
	}
	m.Failed += before.Failed
	m.Concurrency += before.Concurrency
	m.CPU += before.CPU
	m.Peak, m.Held, m.Instances = max(m.Peak, before.Peak), max(m.Held, before.Held), max(m.Instances, before.Instances)
	m.P95, m.Need, m.Memory = max(m.P95, before.P95), max(m.Need, before.Need), max(m.Memory, before.Memory)
}
