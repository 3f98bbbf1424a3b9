package load

import "strings"

// Sparkline draws a series as one line of bars, from 0 to its largest value,
// at most width characters wide; 0: one for each value. Where several values
// share a bar it shows the largest.
func Sparkline(values []float64, width int) string {
	bars := []rune("▁▂▃▄▅▆▇█")
	if width <= 0 || width > len(values) {
		width = len(values)
	}
	top := 0.0
	for _, value := range values {
		top = max(top, value)
	}
	var line strings.Builder
	for i := range width {
		highest := 0.0
		for _, value := range values[i*len(values)/width : (i+1)*len(values)/width] {
			highest = max(highest, value)
		}
		bar := 0
		if top > 0 {
			bar = min(int(highest/top*float64(len(bars))), len(bars)-1)
		}
		line.WriteRune(bars[bar])
	}
	return line.String()
}
