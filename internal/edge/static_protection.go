package edge

import (
	"cmp"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/springtide/springtide"
)

// staticProtection is what a route of a static table says of its protection.
// Files are seen from the table's folder.
type staticProtection struct {
	RateLimits  []staticRateLimit  `json:"rate_limits"`
	MaxBody     int64              `json:"max_body"`
	Headers     map[string]string  `json:"headers"`
	ErrorPages  map[int]string     `json:"error_pages"`
	Maintenance *staticMaintenance `json:"maintenance"`
}

type staticRateLimit struct {
	Match    string   `json:"match"`
	Per      string   `json:"per"`
	Header   string   `json:"header"`
	Requests int      `json:"requests"`
	Within   duration `json:"within"`
	Burst    int      `json:"burst"`
}

type staticMaintenance struct {
	Page       string         `json:"page"`
	RetryAfter duration       `json:"retry_after"`
	Allow      []netip.Prefix `json:"allow"`
}

// protect gives the route its protection.
func (s staticProtection) protect(route *springtide.Route, folder string) error {
	p := &route.Protection
	if p.MaxBody, p.Headers = s.MaxBody, s.Headers; s.MaxBody < 0 {
		return errors.New("max_body is negative")
	}
	if err := checkFields(s.Headers); err != nil {
		return springtide.Errorf(springtide.Invalid, "headers: %w", err)
	}
	for i, l := range s.RateLimits {
		limit := springtide.RateLimit{
			Match: cmp.Or(l.Match, "/*"), Per: springtide.RatePer(cmp.Or(l.Per, "client")), Header: l.Header,
			Requests: l.Requests, Within: time.Duration(l.Within), Burst: cmp.Or(l.Burst, l.Requests),
		}
		if limit.Per == springtide.RatePerToken {
			limit.Header = cmp.Or(limit.Header, "Authorization")
		}
		if err := limit.Validate(); err != nil {
			return springtide.Errorf(springtide.Invalid, "rate limit %d: %w", i+1, err)
		}
		p.RateLimits = append(p.RateLimits, limit)
	}
	for status, name := range s.ErrorPages {
		if !slices.Contains(springtide.PageStatuses(), status) {
			return springtide.Errorf(springtide.Invalid, "error_pages: %d is none of %v", status, springtide.PageStatuses())
		}
		page, err := readPage(folder, name)
		if err != nil {
			return err
		}
		if p.ErrorPages == nil {
			p.ErrorPages = map[int]string{}
		}
		p.ErrorPages[status] = page
	}
	if m := s.Maintenance; m != nil {
		route.Maintenance = &springtide.Maintenance{Since: time.Now(), RetryAfter: cmp.Or(time.Duration(m.RetryAfter), 10*time.Minute), Allow: m.Allow}
		if m.Page != "" {
			var err error
			route.Maintenance.Page, err = readPage(folder, m.Page)
			return err
		}
	}
	return nil
}

func readPage(folder, name string) (string, error) {
	if !filepath.IsAbs(name) {
		name = filepath.Join(folder, name)
	}
	info, err := os.Stat(name)
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() || info.Size() > springtide.PageLimit {
		return "", springtide.Errorf(springtide.Invalid, "%s is no file of at most %d bytes", name, springtide.PageLimit)
	}
	page, err := os.ReadFile(name)
	return string(page), err
}
