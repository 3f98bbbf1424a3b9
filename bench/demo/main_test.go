package main

import (
	"io"
	"testing"
)

func TestTheFlagsSayWhatIsRun(t *testing.T) {
	o, err := parse([]string{"-tide", "t", "-app", "a", "-quick", "-keep"}, io.Discard)
	if err != nil || o.tide != "t" || o.app != "a" || !o.keep || o.plan != quickPlan() {
		t.Errorf("got %+v, %v", o, err)
	}
	for _, args := range [][]string{{"extra"}, {"-slow"}} {
		if _, err := parse(args, io.Discard); err == nil {
			t.Errorf("%v was taken", args)
		}
	}
}

func TestEveryPlanRisesTwentyfoldAndLeavesTimeForWhatHappens(t *testing.T) {
	for name, p := range map[string]plan{"full": fullPlan(), "quick": quickPlan()} {
		if p.high != 20*p.low {
			t.Errorf("%s: from %v to %v", name, p.low, p.high)
		}
		if !(p.deploy < p.killInstance && p.killInstance < p.killControl && p.killControl < p.plateau) {
			t.Errorf("%s: %+v", name, p)
		}
	}
}
