package cache

import (
	"encoding/binary"
	"hash/crc32"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/message"
)

// Each file of the disk tier is one block: a mark with the format's version, a
// checksum of all that follows, and either a record or a slice of a body. What does
// not read back exactly is as if it were not there.
const (
	formatMark = "TideC001"
	blockHead  = len(formatMark) + 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// seal makes a block of what was appended to a slice that begins with blockHead bytes.
func seal(block []byte) []byte {
	copy(block, formatMark)
	binary.LittleEndian.PutUint32(block[len(formatMark):], crc32.Checksum(block[blockHead:], castagnoli))
	return block
}

// unseal checks a block and gives what is in it.
func unseal(block []byte) ([]byte, bool) {
	if len(block) < blockHead || string(block[:len(formatMark)]) != formatMark {
		return nil, false
	}
	content := block[blockHead:]
	return content, crc32.Checksum(content, castagnoli) == binary.LittleEndian.Uint32(block[len(formatMark):])
}

// encode makes the block of a record.
func (r *record) encode() []byte {
	size := 512
	for _, coded := range r.bodies {
		size += len(coded.bytes) + 16
	}
	b := make([]byte, blockHead, size)
	for _, text := range r.texts() {
		b = appendText(b, *text)
	}
	b = appendTexts(b, r.variants)
	b = appendTexts(b, r.tags)
	for _, number := range r.numbers() {
		b = binary.AppendVarint(b, *number)
	}
	b = binary.LittleEndian.AppendUint64(b, r.epoch)
	b = binary.LittleEndian.AppendUint64(b, r.purged)
	b = binary.LittleEndian.AppendUint64(b, r.object)
	b = binary.LittleEndian.AppendUint16(b, uint16(r.status))
	b = append(b, flag(r.identity))
	b = binary.AppendUvarint(b, uint64(len(r.fields)))
	for _, field := range r.fields {
		b = appendText(appendText(b, field.Name), field.Value)
	}
	b = binary.AppendUvarint(b, uint64(len(r.bodies)))
	for _, coded := range r.bodies {
		b = appendText(b, coded.coding)
		b = binary.AppendUvarint(b, uint64(len(coded.bytes)))
		b = append(b, coded.bytes...)
	}
	return seal(b)
}

func (r *record) texts() []*string {
	return []*string{&r.key.scope, &r.key.scheme, &r.key.host, &r.key.target, &r.specification, &r.selecting}
}

func (r *record) numbers() []*int64 {
	return []*int64{&r.requested, &r.received, (*int64)(&r.ttl), (*int64)(&r.stale), &r.length}
}

func flag(set bool) byte {
	if set {
		return 1
	}
	return 0
}

func appendText(b []byte, text string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(text))), text...)
}

func appendTexts(b []byte, texts []string) []byte {
	b = binary.AppendUvarint(b, uint64(len(texts)))
	for _, text := range texts {
		b = appendText(b, text)
	}
	return b
}

// errBlock is given for a block that does not hold what it says.
var errBlock = springtide.Errorf(springtide.Internal, "a file of the cache is damaged")

// decode reads a record. Its bodies are parts of the block; its strings are not.
func decode(block []byte) (record, error) {
	content, ok := unseal(block)
	if !ok {
		return record{}, errBlock
	}
	var r record
	d := decoder{rest: content}
	for _, text := range r.texts() {
		*text = d.text()
	}
	r.variants, r.tags = d.list(), d.list()
	for _, number := range r.numbers() {
		*number = d.number()
	}
	r.epoch, r.purged, r.object = d.fixed(), d.fixed(), d.fixed()
	if status := d.take(2); status != nil {
		r.status = int(binary.LittleEndian.Uint16(status))
	}
	r.identity = string(d.take(1)) == "\x01"
	r.fields = make(message.Fields, 0, d.count())
	for range cap(r.fields) {
		r.fields = append(r.fields, message.Field{Name: d.text(), Value: d.text()})
	}
	r.bodies = make([]body, 0, d.count())
	for range cap(r.bodies) {
		coded := body{coding: d.text()}
		coded.bytes = d.take(d.length())
		r.bodies = append(r.bodies, coded)
	}
	if d.failed || len(d.rest) > 0 || !r.makesSense() {
		return record{}, errBlock
	}
	return r, nil
}

// makesSense says whether a record is a signpost or a response with a body.
func (r *record) makesSense() bool {
	if len(r.variants) > 0 {
		return true
	}
	hasBody := r.object != 0 && r.length > 0 || r.object == 0 && len(r.bodies) > 0 && r.bodies[0].coding == ""
	return r.status >= 200 && r.status <= 599 && hasBody
}

// decoder reads what encode wrote; after a failure it gives nothing but zeros.
type decoder struct {
	rest   []byte
	failed bool
}

func (d *decoder) take(length int) []byte {
	if d.failed || length < 0 || length > len(d.rest) {
		d.failed = true
		return nil
	}
	taken := d.rest[:length:length]
	d.rest = d.rest[length:]
	return taken
}

func (d *decoder) length() int {
	value, n := binary.Uvarint(d.rest)
	if n <= 0 || value > uint64(len(d.rest)) {
		d.failed = true
		return 0
	}
	d.rest = d.rest[n:]
	return int(value)
}

// count is the length of a list: no more than there are bytes for.
func (d *decoder) count() int { return d.length() }

func (d *decoder) text() string { return string(d.take(d.length())) }

func (d *decoder) list() []string {
	count := d.count()
	var texts []string
	for range count {
		if d.failed {
			return nil
		}
		texts = append(texts, d.text())
	}
	return texts
}

func (d *decoder) number() int64 {
	value, n := binary.Varint(d.rest)
	if n <= 0 {
		d.failed = true
		return 0
	}
	d.rest = d.rest[n:]
	return value
}

func (d *decoder) fixed() uint64 {
	if bytes := d.take(8); bytes != nil {
		return binary.LittleEndian.Uint64(bytes)
	}
	return 0
}
