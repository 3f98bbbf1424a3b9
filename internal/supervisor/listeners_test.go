package supervisor

import (
	"net"
	"os"
	"testing"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/edge"
)

func TestSocketsAreKeptHoweverTheirAddressIsWritten(t *testing.T) {
	for _, written := range []string{"127.0.0.1", "localhost", "[::1]", "", "0.0.0.0", "[::]"} {
		first, same, err := listen(t.Context(), []Address{{edge.HTTPS, written + ":0"}}, nil)
		if err != nil && written == "[::1]" {
			continue // a machine without IPv6
		}
		if err != nil || same {
			t.Fatalf("%q: %v", written, err)
		}
		bound, err := net.FileListener(first[0].File)
		if err != nil {
			t.Fatal(err)
		}
		_, port, _ := net.SplitHostPort(bound.Addr().String())
		bound.Close()
		for _, port := range []string{port, "0"} {
			again, same, err := listen(t.Context(), []Address{{edge.HTTPS, written + ":" + port}}, first)
			if err != nil || !same || again[0].File != first[0].File {
				t.Fatalf("%q with port %s: same %t, %v", written, port, same, err)
			}
		}
		closeAll(first)
	}
}

func TestASocketThatIsNotWantedAnyMoreIsClosed(t *testing.T) {
	before, _, err := listen(t.Context(), []Address{{edge.HTTPS, "127.0.0.1:0"}, {edge.HTTP, "127.0.0.1:0"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	dropped := before[1].File
	after, same, err := listen(t.Context(), []Address{{edge.HTTPS, "127.0.0.1:0"}}, before)
	if err != nil || same {
		t.Fatalf("same %t, %v", same, err)
	}
	defer closeAll(after)
	if err := dropped.Close(); err == nil {
		t.Error("it was left open")
	}
}

func TestAPortInUseIsSaid(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	_, _, err = listen(t.Context(), []Address{{edge.HTTPS, taken.Addr().String()}}, nil)
	if springtide.KindOf(err) != springtide.Conflict {
		t.Errorf("got %v", err)
	}
}

func TestWhatOneImageHandsOverTheNextReads(t *testing.T) {
	t.Setenv(stateVariable, "lock=99 control=120 edge=121 leaving=118 leaving=119")
	h, err := inherited(os.Getenv)
	if err != nil || h.control != 120 || h.edge != 121 || len(h.leaving) != 2 || h.leaving[1] != 119 {
		t.Errorf("got %+v, %v", h, err)
	}
	if os.Getenv(stateVariable) != "" {
		t.Error("it would be read again")
	}
}
