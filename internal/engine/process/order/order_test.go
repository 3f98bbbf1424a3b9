package order

import (
	"errors"
	"reflect"
	"testing"
	"time"
)

func FuzzAnOrderThatIsReadIsTheOneThatWasWritten(f *testing.F) {
	f.Add(Order{Attempt: 3, Command: "a=b; c", Env: []string{"A=1", "B="}, SwitchUser: true, UID: 1, GID: 2, Streams: true, Until: 5, Timeout: time.Second}.Encode())
	f.Add(Order{
		Binds:             []Bind{{Source: "/a", Target: "/b", ReadOnly: true}, {Source: "/c", Target: "/d"}},
		CredentialsFolder: "/e", Credentials: []Credential{{Name: "A", Value: []byte("\x00=")}, {Name: "B"}}, Hide: [][]byte{[]byte("\x00")},
	}.Encode())
	f.Add([]byte("go\x00"))
	f.Add([]byte("attempt=x\x00go\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		read, err := Decode(data)
		if err != nil {
			return
		}
		again, err := Decode(read.Encode())
		if err != nil || !reflect.DeepEqual(read, again) {
			t.Fatalf("%+v became %+v, %v", read, again, err)
		}
	})
}

func TestAnOrderThatWasCutOffAnywhereStartsNothing(t *testing.T) {
	whole := Order{Attempt: 1, Command: "echo go", Dir: "/", Env: []string{"X=go"}, LogName: "x"}.Encode()
	for i := range whole {
		if _, err := Decode(whole[:i]); !errors.Is(err, ErrCutOff) {
			t.Fatalf("%q: %v", whole[:i], err)
		}
	}
}

func FuzzAStatusThatIsReadIsTheOneThatWasWritten(f *testing.F) {
	f.Add(Status{Attempt: 2, Code: 3, TimedOut: true, Failure: "no such file"}.Encode())
	f.Fuzz(func(t *testing.T, data []byte) {
		read, err := DecodeStatus(data)
		if err != nil {
			return
		}
		if again, err := DecodeStatus(read.Encode()); err != nil || again != read && read.Failure == again.Failure {
			t.Fatalf("%+v became %+v, %v", read, again, err)
		}
	})
}

func FuzzALineThatIsReadIsTheOneThatWasWritten(f *testing.F) {
	f.Add([]byte("12 o text"))
	f.Add([]byte("1 t "))
	f.Fuzz(func(t *testing.T, data []byte) {
		ns, stream, text, ok := ParseLine(data)
		if !ok {
			return
		}
		written := AppendLine(nil, ns, stream, text)
		ns2, stream2, text2, ok := ParseLine(written[:len(written)-1])
		if !ok || ns2 != ns || stream2 != stream || string(text2) != string(text) {
			t.Fatalf("%q became %q", data, written)
		}
	})
}

func FuzzRenewalsAreReadWhole(f *testing.F) {
	f.Add(append(Renewal(7), Renewal(1<<62)...))
	f.Add([]byte("short"))
	f.Fuzz(func(t *testing.T, data []byte) {
		until, ok := ReadRenewals(data)
		if ok != (len(data) > 0 && len(data)%RenewalSize == 0) {
			t.Fatalf("%d bytes: %v", len(data), ok)
		}
		if again, ok2 := ReadRenewals(Renewal(until)); ok && (!ok2 || again != until) {
			t.Fatalf("%d became %d", until, again)
		}
	})
}
