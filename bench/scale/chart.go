package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// The chart's measures, in pixels.
const (
	chartWidth, chartHeight = 1000.0, 360.0
	chartLeft, chartBottom  = 50.0, 330.0
	chartTop                = 40.0
)

var chartColours = map[string]string{
	"clairvoyant": "#999999", "springtide": "#0a58ca", "Knative": "#d9480f", "Kubernetes HPA": "#2b8a3e",
}

// writeCharts draws, for each case with its first cold start and seed, the
// instances that were ordered.
func writeCharts(folder string, traces []Trace, rows []row) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	for _, t := range traces {
		var own []row
		for _, r := range rows {
			if r.Case == t.Name && r.series != nil && (len(own) == 0 || r.ColdStart == own[0].ColdStart) && chartColours[r.Subject] != "" {
				own = append(own, r)
			}
		}
		if len(own) == 0 {
			continue
		}
		name := regexp.MustCompile(`[^a-z0-9]+`).ReplaceAllString(strings.ToLower(t.Name), "-") + ".svg"
		if err := os.WriteFile(filepath.Join(folder, name), []byte(chart(t, own)), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// chart draws the rate as a grey area, and lines of instances, each point the
// highest of the seconds it stands for.
func chart(t Trace, rows []row) string {
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %.0f" font-family="sans-serif" font-size="12">`+"\n", chartWidth, chartHeight)
	fmt.Fprintf(&b, `<rect width="100%%" height="100%%" fill="white"/><text x="50" y="16">%s, cold start %gs: instances ordered; grey: requests per second</text>`+"\n", t.Name, rows[0].ColdStart)
	peak, rates := 1, 0.0
	for _, r := range rows {
		for _, p := range r.series {
			peak = max(peak, p.Ordered)
		}
	}
	for _, rate := range t.Rates {
		rates = max(rates, rate)
	}
	each := max(len(t.Rates)/900, 1)
	line := func(value func(second int) float64, highest float64) string {
		var points strings.Builder
		for from := 0; from < len(t.Rates); from += each {
			top := 0.0
			for second := from; second < min(from+each, len(t.Rates)); second++ {
				top = max(top, value(second))
			}
			x := chartLeft + (chartWidth-chartLeft-10)*float64(from)/float64(len(t.Rates))
			fmt.Fprintf(&points, "%.1f,%.1f ", x, chartBottom-(chartBottom-chartTop)*top/highest)
		}
		return points.String()
	}
	fmt.Fprintf(&b, `<polygon fill="#e9ecef" points="%g,%g %s %g,%g"/>`+"\n", chartLeft, chartBottom,
		line(func(second int) float64 { return t.Rates[second] }, max(rates, 1e-9)), chartWidth-10, chartBottom)
	for i, r := range rows {
		colour := chartColours[r.Subject]
		fmt.Fprintf(&b, `<polyline fill="none" stroke="%s" points="%s"/><text x="%d" y="32" fill="%s">%s</text>`+"\n", colour,
			line(func(second int) float64 { return float64(r.series[second].Ordered) }, float64(peak)), 50+i*130, colour, r.Subject)
	}
	for _, share := range []float64{0, 0.5, 1} {
		y := chartBottom - (chartBottom-chartTop)*share
		fmt.Fprintf(&b, `<text x="4" y="%.0f">%.4g</text><line x1="46" x2="990" y1="%.0f" y2="%.0f" stroke="#ddd"/>`+"\n", y+4, share*float64(peak), y, y)
		fmt.Fprintf(&b, `<text x="%.0f" y="350" text-anchor="middle">%.2gh</text>`+"\n", chartLeft+(chartWidth-chartLeft-10)*share, share*float64(len(t.Rates))/3600)
	}
	b.WriteString("</svg>\n")
	return b.String()
}
