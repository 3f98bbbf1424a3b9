package engine

import "testing"

func TestTheProgramOfACommandIsNamed(t *testing.T) {
	for command, want := range map[string]string{
		"./bin/web -x": "./bin/web", "exec node server.js": "node", "A=1 B=2 exec ./web": "./web", "A=1": "A=1",
	} {
		if got := program(command); got != want {
			t.Errorf("%s: %q, want %q", command, got, want)
		}
	}
}
