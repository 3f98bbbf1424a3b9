package cli

import "strings"

// sparkline draws numbers as bars, the largest as the highest; at most width of
// them, the last ones.
func sparkline(values []float64, width int) string {
	values = values[max(0, len(values)-width):]
	highest := 0.0
	for _, v := range values {
		highest = max(highest, v)
	}
	bars := []rune("▁▂▃▄▅▆▇█")
	var line strings.Builder
	for _, v := range values {
		bar := 0
		if highest > 0 {
			bar = int(max(0, v) / highest * float64(len(bars)-1))
		}
		line.WriteRune(bars[bar])
	}
	return line.String()
}
