package process

import (
	"net"
	"os"
	"strings"
	"testing"
)

const socketTable = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0000000000000000 100 0 0 10 0
   1: 0100007F:1F91 0100007F:1F90 01 00000000:00000000 00:00000000 00000000     0        0 4712 1 0000000000000000 100 0 0 10 0
   2: 00000000000000000000000000000000:1388 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 4713 1
`

func FuzzTheTableOfSocketsIsReadWithoutHarm(f *testing.F) {
	f.Add(socketTable)
	f.Fuzz(func(t *testing.T, table string) {
		found, _ := parseListeners(strings.NewReader(table))
		for _, l := range found {
			if !l.address.IsValid() {
				t.Errorf("%+v", l)
			}
		}
	})
}

func TestTheTableOfSocketsTellsWhoListens(t *testing.T) {
	found, err := parseListeners(strings.NewReader(socketTable))
	if err != nil || len(found) != 2 {
		t.Fatalf("%v, %v", found, err)
	}
	if found[0].address.String() != "127.0.0.1:8080" || found[0].inode != 4711 || found[1].address.String() != "[::]:5000" {
		t.Errorf("%v", found)
	}
	for _, test := range []struct {
		port int
		own  bool
		want string
	}{
		{8080, true, "listens on 127.0.0.1:8080 only; listen on 0.0.0.0 or $HOST"},
		{8080, false, ""},
		{5000, true, ""},
		{9000, true, "listens on 5000 and 8080, not on $PORT (9000)"},
	} {
		if got := explainListeners(found, test.port, test.own); got != test.want {
			t.Errorf("port %d: %q, want %q", test.port, got, test.want)
		}
	}
}

func TestThisProcessIsSeenListening(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	for _, l := range listeners(os.Getpid()) {
		if l.address.String() == listener.Addr().String() {
			return
		}
	}
	t.Error("it is not")
}
