package edge

import (
	"crypto/rand"
	"encoding/binary"

	"github.com/quic-go/quic-go"
)

// Connection IDs are the number of the edge that gave them and then random, in
// bytes. The number says nothing of a connection: all of an edge's have it.
const (
	edgeNumberLength   = 4
	connectionIDLength = edgeNumberLength + 8
)

// edgeNumber is drawn by each edge, anew for each UDP socket.
type edgeNumber uint32

func newEdgeNumber() edgeNumber {
	var b [edgeNumberLength]byte
	_, _ = rand.Read(b[:]) // never fails
	return edgeNumber(binary.BigEndian.Uint32(b[:]))
}

// GenerateConnectionID implements quic.ConnectionIDGenerator.
func (n edgeNumber) GenerateConnectionID() (quic.ConnectionID, error) {
	var b [connectionIDLength]byte
	_, _ = rand.Read(b[edgeNumberLength:])
	binary.BigEndian.PutUint32(b[:], uint32(n))
	return quic.ConnectionIDFromBytes(b[:]), nil
}

// ConnectionIDLen implements quic.ConnectionIDGenerator.
func (n edgeNumber) ConnectionIDLen() int { return connectionIDLength }

// numberIn gives the number in the destination connection ID of a packet, by what
// RFC 8999 says of all versions of QUIC. What a client begins with has an ID that
// it made up: the number is then nobody's.
func numberIn(packet []byte) (number edgeNumber, ok bool) {
	const longForm = 0x80
	var id []byte
	switch {
	case len(packet) == 0:
		return 0, false
	case packet[0]&longForm == 0:
		id = packet[1:]
	case len(packet) < 6 || packet[5] != connectionIDLength: // behind the version
		return 0, false
	default:
		id = packet[6:]
	}
	if len(id) < connectionIDLength {
		return 0, false
	}
	return edgeNumber(binary.BigEndian.Uint32(id)), true
}
