package call

import (
	"net/http"
	"testing"
	"time"
)

func TestRetryAfterIsSecondsOrADate(t *testing.T) {
	now := time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"":                               0,
		"0":                              0,
		"120":                            2 * time.Minute,
		" 7 ":                            7 * time.Second,
		"-5":                             0,
		"1.5":                            0,
		"soon":                           0,
		"999999":                         longestRetryAfter,
		"99999999999999999999999":        longestRetryAfter,
		"Sun, 22 Nov 2026 08:01:00 GMT":  time.Minute,
		"Sunday, 22-Nov-26 08:00:30 GMT": 30 * time.Second,
		"Sun Nov 22 08:00:05 2026":       5 * time.Second,
		"Sun, 22 Nov 2026 07:00:00 GMT":  0,
		"Fri, 31 Dec 9999 23:59:59 GMT":  longestRetryAfter,
	} {
		if got := retryAfter(value, now); got != want {
			t.Errorf("%q: %s, want %s", value, got, want)
		}
	}
}

func FuzzRetryAfter(f *testing.F) {
	now := time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)
	for _, seed := range []string{"", "120", "-1", "18446744073709551616", now.Add(time.Hour).Format(http.TimeFormat), "Sun Nov 22 08:00:05 2026"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		if got := retryAfter(value, now); got < 0 || got > longestRetryAfter {
			t.Errorf("%q: %s", value, got)
		}
	})
}
