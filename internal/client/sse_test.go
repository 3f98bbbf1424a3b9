package client

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestServerSentEventsAreRead(t *testing.T) {
	stream := ":\n\nid: 1\nevent: event\ndata: {\"a\":\ndata: 1}\n\ndata:plain\n\nevent: empty\n\ndata: cut"
	var got []string
	for event, err := range serverSentEvents(strings.NewReader(stream)) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, event.name+"|"+string(event.data))
	}
	if diff := cmp.Diff([]string{"event|{\"a\":\n1}", "|plain"}, got); diff != "" {
		t.Error(diff)
	}
}

func FuzzServerSentEventsAreWhatWasWritten(f *testing.F) {
	f.Add("event", []byte("data"), []byte(":\n\n"))
	f.Add("", []byte(""), []byte("data: x\n\nevent"))
	f.Fuzz(func(t *testing.T, name string, data, noise []byte) {
		for range serverSentEvents(bytes.NewReader(noise)) { // any input ends
		}
		if strings.ContainsAny(name, "\r\n\x00") || bytes.ContainsAny(data, "\r\n") || len(name)+len(data) > 1<<20 {
			return
		}
		var got []serverSentEvent
		for event, err := range serverSentEvents(strings.NewReader("event: " + name + "\ndata: " + string(data) + "\n\n")) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, event)
		}
		if len(got) != 1 || got[0].name != name || !bytes.Equal(got[0].data, data) {
			t.Errorf("%q and %q became %v", name, data, got)
		}
	})
}
