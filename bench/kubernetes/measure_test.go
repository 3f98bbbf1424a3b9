package main

import (
	"context"
	"encoding/json"
	"os"
	"strings"
	"testing"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && (os.Args[1] == clusterArgument || os.Args[1] == controlArgument) {
		if err := run(context.Background(), os.Args[1:], os.Stdout, os.Stderr); err != nil { // until it is killed
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func TestEverySizeIsMeasuredFromItsStartToItsEnd(t *testing.T) {
	var told strings.Builder
	if err := run(t.Context(), []string{"-of", "engine", "-apps", "2,5", "-pods", "3", "-changes", "4", "-json"}, &told, t.Output()); err != nil {
		t.Fatal(err)
	}
	decoder := json.NewDecoder(strings.NewReader(told.String()))
	for _, apps := range []int{2, 5} {
		var told struct{ Engine row }
		if err := decoder.Decode(&told); err != nil {
			t.Fatal(err)
		}
		r := told.Engine
		if r.Apps != apps || r.Pods != 3*apps || r.Start <= 0 || r.Change < 500 || r.Seen <= 0 || r.Surge <= 0 || r.Restart <= 0 || r.End <= 0 || r.Heap <= 0 {
			t.Errorf("%+v", r)
		}
	}
	for _, wrong := range [][]string{{"-apps", "many"}, {"-of", "nothing"}} {
		if err := run(t.Context(), wrong, &told, t.Output()); err == nil {
			t.Errorf("%v is understood", wrong)
		}
	}
}

func TestAWholeControlPlaneIsMeasuredUntilItIsThereAgain(t *testing.T) {
	var told strings.Builder
	if err := run(t.Context(), []string{"-of", "control", "-apps", "3", "-pods", "2", "-changes", "2", "-calm", "10ms", "-json"}, &told, t.Output()); err != nil {
		t.Fatal(err)
	}
	var found struct{ Control wholeRow }
	if err := json.Unmarshal([]byte(told.String()), &found); err != nil {
		t.Fatal(err)
	}
	r := found.Control
	if r.Apps != 3 || r.Pods != 6 || r.Memory <= 0 || r.Table <= 0 || r.Deploy < 500 || r.Gone <= 0 || r.Scale < 500 || r.Answers <= 0 || r.Restart <= 0 {
		t.Errorf("%+v", r)
	}
}
