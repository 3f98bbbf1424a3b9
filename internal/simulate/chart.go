package simulate

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"
)

// The chart's measures, in pixels.
const (
	chartWidth, chartHeight = 1000.0, 360.0
	chartLeft, chartBottom  = 50.0, 330.0
	chartTop                = 40.0
)

// Line is a run in a chart.
type Line struct {
	Name, Colour string
	Series       []Point
}

// WriteChart draws an SVG: the rate as a grey area, and lines of the instances
// that were ordered, each point the highest of the seconds it stands for.
func WriteChart(out io.Writer, title string, t Trace, lines []Line) error {
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %.0f" font-family="sans-serif" font-size="12">`+"\n", chartWidth, chartHeight)
	fmt.Fprintf(&b, `<rect width="100%%" height="100%%" fill="white"/><text x="50" y="16">%s: instances ordered; grey: requests per second</text>`+"\n", escaped(title))
	peak, rates := 1, 1e-9
	for _, line := range lines {
		for _, p := range line.Series {
			peak = max(peak, p.Ordered)
		}
	}
	for _, rate := range t.Rates {
		rates = max(rates, rate)
	}
	fmt.Fprintf(&b, `<polygon fill="#e9ecef" points="%g,%g %s %g,%g"/>`+"\n", chartLeft, chartBottom,
		chartPoints(len(t.Rates), func(second int) float64 { return t.Rates[second] / rates }), chartWidth-10, chartBottom)
	for i, line := range lines {
		fmt.Fprintf(&b, `<polyline fill="none" stroke="%s" points="%s"/><text x="%d" y="32" fill="%s">%s</text>`+"\n", escaped(line.Colour),
			chartPoints(len(line.Series), func(second int) float64 { return float64(line.Series[second].Ordered) / float64(peak) }),
			50+i*105, escaped(line.Colour), escaped(line.Name))
	}
	for _, share := range []float64{0, 0.5, 1} {
		y := chartBottom - (chartBottom-chartTop)*share
		fmt.Fprintf(&b, `<text x="4" y="%.0f">%.4g</text><line x1="46" x2="990" y1="%.0f" y2="%.0f" stroke="#ddd"/>`+"\n", y+4, share*float64(peak), y, y)
		fmt.Fprintf(&b, `<text x="%.0f" y="350" text-anchor="middle">%.2gh</text>`+"\n", chartLeft+(chartWidth-chartLeft-10)*share, share*float64(len(t.Rates))/3600)
	}
	b.WriteString("</svg>\n")
	_, err := io.WriteString(out, b.String())
	return err
}

// chartPoints draws n seconds of a value between 0 and 1.
func chartPoints(n int, value func(second int) float64) string {
	var points strings.Builder
	each := max(n/900, 1)
	for from := 0; from < n; from += each {
		top := 0.0
		for second := from; second < min(from+each, n); second++ {
			top = max(top, value(second))
		}
		x := chartLeft + (chartWidth-chartLeft-10)*float64(from)/float64(n)
		fmt.Fprintf(&points, "%.1f,%.1f ", x, chartBottom-(chartBottom-chartTop)*top)
	}
	return points.String()
}

func escaped(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s)) // a builder takes everything
	return b.String()
}
