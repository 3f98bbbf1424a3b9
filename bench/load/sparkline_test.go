package load

import (
	"fmt"
	"testing"
)

func ExampleSparkline() {
	fmt.Println(Sparkline([]float64{1, 1, 2, 4, 8, 8, 8, 6, 3, 1}, 0))
	// Output: ▂▂▃▅███▇▄▂
}

func TestASparklineIsAsWideAsAskedAndKeepsPeaks(t *testing.T) {
	values := make([]float64, 100)
	values[57] = 3
	if got := Sparkline(values, 10); got != "▁▁▁▁▁█▁▁▁▁" {
		t.Errorf("got %s", got)
	}
	if got := Sparkline(nil, 10); got != "" {
		t.Errorf("nothing became %q", got)
	}
	if got := Sparkline([]float64{0, 0}, 10); got != "▁▁" {
		t.Errorf("zeros became %q", got)
	}
}
