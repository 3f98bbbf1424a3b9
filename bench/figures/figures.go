// Package figures is how benchmarks tell what they measured: a median with what
// it lies between, and lines of JSON.
package figures

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Spread is a median with what it lies between.
type Spread struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

// SpreadOf gives that of some values, of which there is at least one.
func SpreadOf(values []float64) Spread {
	values = slices.Sorted(slices.Values(values))
	return Spread{values[len(values)/2], values[0], values[len(values)-1]}
}

// Format writes "3.1 (2.9 to 3.4)", each number by a verb such as "%.1f".
func (s Spread) Format(verb string) string {
	return fmt.Sprintf(strings.ReplaceAll("% (% to %)", "%", verb), s.Median, s.Min, s.Max)
}

// Encode writes each on a line of JSON.
func Encode[T any](w io.Writer, all []T) error {
	encoder := json.NewEncoder(w)
	for _, one := range all {
		if err := encoder.Encode(one); err != nil {
			return err
		}
	}
	return nil
}
