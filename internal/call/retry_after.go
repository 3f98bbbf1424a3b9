package call

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// longestRetryAfter is for how long a host may send us away.
const longestRetryAfter = 24 * time.Hour

// retryAfter reads the header Retry-After (RFC 9110, 10.2.3): seconds or a date.
// 0: it says nothing that can be used.
func retryAfter(value string, now time.Time) time.Duration {
	value = strings.TrimSpace(value)
	var after time.Duration
	if value != "" && strings.Trim(value, "0123456789") == "" {
		seconds, err := strconv.ParseInt(value, 10, 64)
		if err != nil || seconds > int64(longestRetryAfter/time.Second) {
			return longestRetryAfter
		}
		after = time.Duration(seconds) * time.Second
	} else if date, err := http.ParseTime(value); err == nil {
		after = date.Sub(now)
	}
	return min(max(after, 0), longestRetryAfter)
}
