package manifest

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"maps"
	"net/textproto"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/springtide/springtide"
)

// rateLimitSection bounds how many requests there may be in a time.
type rateLimitSection struct {
	At position `json:"-"`

	Match    set[pathPattern] `json:"match,omitempty" jsonschema_description:"The path that is meant, like /login, or what paths begin with, like /api/*. Default: /*."`
	Per      set[ratePer]     `json:"per,omitempty" jsonschema_description:"Who shares the limit: the requests of a client, all that match (route), or those with the same token. Default: client."`
	Header   set[headerName]  `json:"header,omitempty" jsonschema_description:"The header that has the token. Default: Authorization."`
	Requests set[count]       `json:"requests,omitempty" jsonschema:"minimum=1,maximum=1000000000" jsonschema_description:"How many requests there may be within the time."`
	Within   set[duration]    `json:"within,omitempty" jsonschema:"minimum=1s,maximum=30d" jsonschema_description:"The time, like 1m."`
	Burst    set[count]       `json:"burst,omitempty" jsonschema:"minimum=1,maximum=1000000000" jsonschema_description:"How many of them may come at once, after a pause. Default: requests."`
}

// pathPattern is a path, or what paths begin with.
type pathPattern string

func (v *pathPattern) parse(n *node) error {
	limit := springtide.RateLimit{Match: n.text, Per: springtide.RatePerClient, Requests: 1, Within: time.Second, Burst: 1}
	if n.kind != text || limit.Validate() != nil {
		return fmt.Errorf("want a path like /login, or /api/* for what begins so, got %s", n.shown())
	}
	*v = pathPattern(n.text)
	return nil
}

func (v *pathPattern) write() (string, bool) { return string(*v), false }

// ratePer is a [springtide.RatePer].
type ratePer string

func (ratePer) choices() []string {
	return []string{string(springtide.RatePerClient), string(springtide.RatePerRoute), string(springtide.RatePerToken)}
}

func (v *ratePer) parse(n *node) error { return parseChoice(v, n) }

func (v *ratePer) write() (string, bool) { return string(*v), false }

// headerName is the name of a field of requests or answers.
type headerName string

var headerPattern = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")

func (v *headerName) parse(n *node) error {
	if n.kind != text || !headerPattern.MatchString(n.text) {
		return fmt.Errorf("want the name of a header, like X-Frame-Options, got %s", n.shown())
	}
	*v = headerName(textproto.CanonicalMIMEHeaderKey(n.text))
	return nil
}

func (v *headerName) write() (string, bool) { return string(*v), false }

// pageStatus is the status of an answer that the edge gives by itself.
type pageStatus string

func (v *pageStatus) parse(n *node) error {
	statuses := make([]string, 0, len(springtide.PageStatuses()))
	for _, status := range springtide.PageStatuses() {
		statuses = append(statuses, strconv.Itoa(status))
	}
	if !slices.Contains(statuses, n.text) {
		return fmt.Errorf("%s is no status that the edge has a page for: %s", shorten(n.text), strings.Join(statuses, ", "))
	}
	*v = pageStatus(n.text)
	return nil
}

func (v *pageStatus) write() (string, bool) { return string(*v), true }

// sourcePath is a file of the app's folder.
type sourcePath string

func (v *sourcePath) parse(n *node) error {
	clean := path.Clean(n.text)
	if n.kind != text || n.text == "" || path.IsAbs(clean) || clean == "." || clean == ".." || strings.HasPrefix(clean, "../") {
		return fmt.Errorf("want a file of the app's folder, like public/503.html, got %s", n.shown())
	}
	*v = sourcePath(clean)
	return nil
}

func (v *sourcePath) write() (string, bool) { return string(*v), false }

// headerLimit and rateLimitLimit are how many headers and rate limits there may be.
const (
	headerLimit    = 50
	rateLimitLimit = 50
)

// protection is what edges do for the app. Its pages are read by [Load].
func (r *resolver) protection(d *document) springtide.Protection {
	p := springtide.Protection{MaxBody: int64(d.MaxBody.Value)}
	if len(d.RateLimits) > rateLimitLimit {
		r.problems.add(d.RateLimits[rateLimitLimit].At, "rate_limits: there are %d, at most %d are allowed", len(d.RateLimits), rateLimitLimit)
	}
	for i, s := range d.RateLimits {
		if limit, ok := r.rateLimit(fmt.Sprintf("rate_limits[%d]", i), s); ok {
			p.RateLimits = append(p.RateLimits, limit)
		}
	}
	if len(d.Headers) > headerLimit {
		r.problems.add(d.At, "headers: there are %d, at most %d are allowed", len(d.Headers), headerLimit)
	}
	for _, header := range sortedKeys(d.Headers) {
		value := d.Headers[header]
		if err := springtide.CheckHeader(string(header), string(value.Value)); err != nil {
			r.problems.add(value.At, "headers: %v", err)
		}
		if p.Headers == nil {
			p.Headers = map[string]string{}
		}
		p.Headers[string(header)] = string(value.Value)
	}
	return p
}

func (r *resolver) rateLimit(path string, s *rateLimitSection) (springtide.RateLimit, bool) {
	if s == nil {
		return springtide.RateLimit{}, false
	}
	if !s.Requests.IsSet && !s.Requests.attempted() {
		r.problems.add(s.At, "%s: requests is missing: say how many there may be, like requests: 10", path)
	}
	if !s.Within.IsSet && !s.Within.attempted() {
		r.problems.add(s.At, "%s: within is missing: say in what time, like within: 1m", path)
	}
	limit := springtide.RateLimit{
		Match: string(s.Match.or("/*")), Per: springtide.RatePer(s.Per.or(ratePer(springtide.RatePerClient))), Header: string(s.Header.Value),
		Requests: int(s.Requests.Value), Within: time.Duration(s.Within.Value), Burst: int(s.Burst.or(s.Requests.Value)),
	}
	if limit.Per == springtide.RatePerToken && limit.Header == "" {
		limit.Header = "Authorization"
	}
	if s.Header.IsSet && limit.Per != springtide.RatePerToken {
		r.problems.add(s.Header.At, "%s.header: only a limit with per: token has one", path)
	}
	return limit, true
}

// pages reads the pages that a document names from the app's folder, and nothing
// outside of it.
func (d *document) pages(folder string) (map[int]string, error) {
	if len(d.ErrorPages) == 0 {
		return nil, nil
	}
	root, err := os.OpenRoot(folder)
	if err != nil {
		return nil, springtide.Errorf(springtide.Invalid, "the folder %s: %w", folder, err)
	}
	defer root.Close()
	pages := map[int]string{}
	for _, status := range slices.Sorted(maps.Keys(d.ErrorPages)) {
		named := d.ErrorPages[status]
		page, err := readPage(root, string(named.Value))
		if err != nil {
			return nil, springtide.Errorf(springtide.Invalid, "%s: error_pages.%s: %w", named.At, status, err)
		}
		number, _ := strconv.Atoi(string(status)) // it was read
		pages[number] = page
	}
	return pages, nil
}

func readPage(root *os.Root, name string) (string, error) {
	info, err := root.Stat(name)
	if problem, ok := errors.AsType[*fs.PathError](err); ok {
		return "", fmt.Errorf("%s: %w", name, problem.Err)
	}
	if !info.Mode().IsRegular() || info.Size() > springtide.PageLimit {
		return "", fmt.Errorf("%s is no file of at most %s", name, formatSize(springtide.PageLimit))
	}
	file, err := root.Open(name)
	if err != nil {
		return "", err
	}
	defer file.Close()
	page, err := io.ReadAll(io.LimitReader(file, springtide.PageLimit))
	if err == nil && len(page) == 0 {
		err = errors.New(name + " is empty")
	}
	return string(page), err
}

// protection compares what edges do for the app.
func (d *difference) protection(from, to springtide.Protection) {
	d.value("rate_limits", effectRoutes, rateLimitsOf(from), rateLimitsOf(to))
	d.value("max_body", effectRoutes, sizeOf(from.MaxBody), sizeOf(to.MaxBody))
	written := func(value *string) string {
		if value == nil {
			return ""
		}
		return strconv.Quote(*value)
	}
	eachOf(from.Headers, to.Headers, func(name string, before, after *string) {
		d.value("headers."+name, effectRoutes, written(before), written(after))
	})
	eachOf(from.ErrorPages, to.ErrorPages, func(status int, before, after *string) {
		what := func(page *string) string {
			if page == nil {
				return ""
			}
			return fmt.Sprintf("%d bytes (%08x)", len(*page), crc32.ChecksumIEEE([]byte(*page)))
		}
		d.value("error_pages."+strconv.Itoa(status), effectRoutes, what(before), what(after))
	})
}

func rateLimitsOf(p springtide.Protection) string {
	all := make([]string, len(p.RateLimits))
	for i, l := range p.RateLimits {
		all[i] = fmt.Sprintf("%s per %s %d within %s, burst %d", l.Match, strings.TrimSpace(string(l.Per)+" "+l.Header), l.Requests, formatDuration(l.Within), l.Burst)
	}
	return strings.Join(all, "; ")
}
