package edge

import (
	"bytes"
	"encoding/binary"
	"testing"
)

// frame makes a frame as a server sends it.
func frame(opcode byte, payload []byte) []byte {
	head := []byte{0x80 | opcode}
	switch n := len(payload); {
	case n < 126:
		head = append(head, byte(n))
	case n < 1<<16:
		head = binary.BigEndian.AppendUint16(append(head, 126), uint16(n))
	default:
		head = binary.BigEndian.AppendUint64(append(head, 127), uint64(n))
	}
	return append(head, payload...)
}

func TestTheEndOfEachFrameIsFound(t *testing.T) {
	for _, size := range []int{0, 1, 125, 126, 127, 65535, 65536, 100000} {
		whole := frame(2, make([]byte, size))
		both := append(bytes.Clone(whole), frame(1, []byte("next"))...)
		for _, step := range []int{1, 3, 4096, len(both)} {
			var f frames
			passed := 0
			for passed < len(both) {
				n := f.pass(both[passed:min(len(both), passed+step)])
				passed += n
				if f.boundary() != (passed == len(whole) || passed == len(both)) {
					t.Fatalf("size %d, step %d: after %d of %d+6 bytes the boundary is %v", size, step, passed, len(whole), f.boundary())
				}
			}
		}
	}
}

func TestACloseFrameAndAMaskAreSeen(t *testing.T) {
	var f frames
	f.passAll([]byte{0x81, 0x83, 1, 2, 3, 4, 'a', 'b', 'c'})
	if !f.boundary() || f.closing {
		t.Errorf("a masked frame left %+v", f)
	}
	f.passAll(closeFrame(closeGoingAway))
	if !f.boundary() || !f.closing {
		t.Errorf("a close frame left %+v", f)
	}
}

func FuzzFramesAreTheSameHoweverTheyAreCut(f *testing.F) {
	f.Add(frame(1, []byte("hello")), uint8(3))
	f.Add(append(frame(2, make([]byte, 300)), closeFrame(1000)...), uint8(7))
	f.Add([]byte{0x82, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0}, uint8(2))
	f.Fuzz(func(t *testing.T, data []byte, cut uint8) {
		var whole, parts frames
		whole.passAll(data)
		for rest := data; len(rest) > 0; {
			n := min(len(rest), int(cut)+1)
			parts.passAll(rest[:n])
			rest = rest[n:]
		}
		if whole.boundary() != parts.boundary() || whole.payload != parts.payload || whole.closing != parts.closing || whole.have != parts.have {
			t.Errorf("%+v in one piece, %+v in parts", whole, parts)
		}
	})
}
