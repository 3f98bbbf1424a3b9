package figures_test

import (
	"fmt"
	"os"

	"github.com/springtide/springtide/bench/figures"
)

func ExampleSpread_Format() {
	fmt.Println(figures.SpreadOf([]float64{3.4, 2.9, 3.1}).Format("%.1f"))
	// Output: 3.1 (2.9 to 3.4)
}

func ExampleEncode() {
	_ = figures.Encode(os.Stdout, []figures.Spread{{Median: 2, Min: 1, Max: 3}})
	// Output: {"median":2,"min":1,"max":3}
}
