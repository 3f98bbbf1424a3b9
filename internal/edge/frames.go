package edge

import "encoding/binary"

// frames follows the frames of one direction of a WebSocket (RFC 6455, section
// 5.2) as its bytes pass, so that the edge knows where it may put in one of its
// own. Its zero value is at the start.
type frames struct {
	head    [10]byte
	have    int    // bytes of head
	payload uint64 // what is left of the frame after its head
	closing bool   // a close frame has begun
}

// The close codes that the edge sends.
const (
	closeGoingAway  = 1001
	closeBadGateway = 1014
)

// boundary says that a frame may begin here.
func (f *frames) boundary() bool { return f.have == 0 && f.payload == 0 }

// pass follows bytes up to the end of a frame, or all of them. It gives how
// many that are.
func (f *frames) pass(p []byte) int {
	n := 0
	for n < len(p) {
		if f.payload > 0 {
			step := min(f.payload, uint64(len(p)-n))
			f.payload -= step
			n += int(step)
			if f.payload == 0 {
				return n
			}
			continue
		}
		f.head[f.have] = p[n]
		f.have++
		n++
		if f.have == f.headLength() {
			f.enter()
			if f.payload == 0 {
				return n
			}
		}
	}
	return n
}

// passAll follows all bytes.
func (f *frames) passAll(p []byte) {
	for len(p) > 0 {
		p = p[f.pass(p):]
	}
}

// headLength gives how many bytes the head has without its masking key, which
// is counted as payload.
func (f *frames) headLength() int {
	if f.have < 2 {
		return 2
	}
	switch f.head[1] & 0x7f {
	case 126:
		return 4
	case 127:
		return 10
	}
	return 2
}

// enter reads the head that is complete.
func (f *frames) enter() {
	switch length := f.head[1] & 0x7f; length {
	case 126:
		f.payload = uint64(binary.BigEndian.Uint16(f.head[2:]))
	case 127:
		f.payload = binary.BigEndian.Uint64(f.head[2:]) &^ (1 << 63)
	default:
		f.payload = uint64(length)
	}
	if masked := f.head[1]&0x80 != 0; masked {
		f.payload += 4
	}
	f.closing = f.closing || f.head[0]&0x0f == 8
	f.have = 0
}

// closeFrame makes a server's close frame.
func closeFrame(code uint16) []byte {
	return binary.BigEndian.AppendUint16([]byte{0x88, 2}, code)
}
