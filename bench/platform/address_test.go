package platform

import (
	"net"
	"testing"
)

func TestAnAddressThatIsKeptIsGivenToNobodyElse(t *testing.T) {
	kept := map[string]bool{}
	for range 10 {
		address, err := Reserve()
		if err != nil {
			t.Fatal(err)
		}
		defer address.Close()
		for range 2 { // whoever is told it can listen there, again and again
			listener, err := net.Listen("tcp", address.String())
			if err != nil {
				t.Fatal(err)
			}
			listener.Close()
		}
		kept[address.String()] = true
	}
	for range 5000 {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		if kept[listener.Addr().String()] {
			t.Errorf("somebody else was given %s", listener.Addr())
		}
		listener.Close()
	}
}
