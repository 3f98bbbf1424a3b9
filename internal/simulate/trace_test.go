package simulate

import (
	"math"
	"strings"
	"testing"
)

func TestTracesOfSecondsMinutesAndFiveMinutesAreRead(t *testing.T) {
	for _, test := range []struct {
		name, csv, column string
		seconds           int
		first, last       float64
	}{
		{"rates a second", "second,rate_per_s,requests\n-1,20.5,21\n0,30,29\n", "", 2, 20.5, 30},
		{"requests a second", "second,rate_per_s,requests\n-1,20.5,21\n0,30,29\n", "requests", 2, 21, 29},
		{"requests a minute", "minute_utc,requests\n1998-06-08T00:00,600\n1998-06-08T00:01,1200\n", "", 120, 10, 20},
		{"a sum of columns", "minute,a,b\n0,60,540\n1,600,600\n", "", 120, 10, 20},
		{"a spreadsheet's minutes", "\ufeffminute,requests\r\n0,600\r\n1,1200\r\n", "", 120, 10, 20},
		{"minutes of which some are missing", "minute,requests\n0,600\n1,1200\n4,300\n5,600\n", "", 360, 10, 10},
		{"seconds since 1970", "time,requests\n1700000000,600\n1700000060,1200\n", "", 120, 10, 20},
		{"milliseconds since 1970", "time,requests\n1700000000000,600\n1700000060000,1200\n", "", 120, 10, 20},
		{"five minutes", "timestamp,value\n2014-04-10 00:04:00,300\n2014-04-10 00:09:00,600.0\n", "", 600, 1, 2},
	} {
		rates, err := ReadTrace(strings.NewReader(test.csv), "x.csv", test.column)
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		if len(rates) != test.seconds || rates[0] != test.first || rates[len(rates)-1] != test.last {
			t.Errorf("%s: %d seconds from %v to %v", test.name, len(rates), rates[0], rates[len(rates)-1])
		}
	}
}

func TestWhatIsNoTraceIsToldPlainly(t *testing.T) {
	for csv, want := range map[string]string{
		"":                                   "the first line",
		"second\n1\n2\n":                     "one column only",
		"second,requests\n1,5\n":             "fewer than two rows",
		"second,requests\n1,5\n2,-1\n":       "is no number of requests",
		"second,requests\n1,5\n2,NaN\n":      "x.csv:3: \"NaN\" is no number of requests",
		"second,requests\nyesterday,5\n2,1":  "is no time",
		"second,requests\n1,5\n1,5\n":        "rows that are 0s apart",
		"second,requests\n2,5\n1,5\n":        "rows that are -1s apart",
		"second,requests\n1,5\n99999999,5\n": "apart",
		"second,requests\n1,5\n2,5\n2,5\n":   "x.csv:4: its time is not after",
		"second,requests\n1,5\n2,5\n9e8,5\n": "x.csv:4: longer than 40 days",
		"second,requests\n1,5\n2,5\nx,5\n":   `x.csv:4: "x" is no time`,
		strings.Repeat("\x00", 2<<20):        "a line is longer than 1 MiB",
		"second,requests\n1,5\n2\n":          "too short",
		"second,requests\n1,\"5\n":           "x.csv:2",
	} {
		if _, err := ReadTrace(strings.NewReader(csv), "x.csv", ""); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", csv, err, want)
		}
	}
	if _, err := ReadTrace(strings.NewReader("second,requests\n1,5\n2,6\n"), "x.csv", "visits"); err == nil || !strings.Contains(err.Error(), `no column "visits"`) {
		t.Errorf("a column that is not there: %v", err)
	}
}

func FuzzReadTrace(f *testing.F) {
	f.Add("second,rate_per_s\n0,1\n1,2\n", "")
	f.Add("minute,a,b\n0,60,540\n1,600,600\n", "b")
	f.Fuzz(func(t *testing.T, csv, column string) {
		rates, err := ReadTrace(strings.NewReader(csv), "x.csv", column)
		if err != nil {
			return
		}
		if len(rates) < 2 || len(rates) > LongestTrace {
			t.Fatalf("%d seconds", len(rates))
		}
		for _, rate := range rates {
			if math.IsNaN(rate) || math.IsInf(rate, 0) || rate < 0 {
				t.Fatalf("a rate of %v", rate)
			}
		}
	})
}
