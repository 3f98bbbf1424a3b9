package manifest

import (
	"errors"
	"time"

	"github.com/springtide/springtide"
)

// stickySection is written as true, or in full.
type stickySection struct {
	At position `json:"-"`

	Enabled set[truth]      `json:"enabled,omitempty" jsonschema_description:"Whether a client's requests go to one instance. Default: true. Can be written as this alone."`
	Cookie  set[cookieName] `json:"cookie,omitempty" jsonschema_description:"The name of the cookie by which the instance is found again. Default: tide_session."`
	For     set[duration]   `json:"for,omitempty" jsonschema:"minimum=1s,maximum=400d" jsonschema_description:"How long a client that does not come is remembered. Default: until its browser is closed."`
}

func (s *stickySection) shorthand() scalarField { return &s.Enabled }

// cookieName is the name of a cookie.
type cookieName string

func (v *cookieName) parse(n *node) error {
	if n.kind != text {
		return errors.New("want the name of a cookie, got " + n.shown())
	}
	if !springtide.IsCookieName(n.text) {
		return errors.New(`"` + shorten(n.text) + `" is no name of a cookie: use letters, digits, "_" and "-", at most 64`)
	}
	*v = cookieName(n.text)
	return nil
}

func (v *cookieName) write() (string, bool) { return string(*v), false }

// balance adds how the edges share out the requests of a process.
func (r *resolver) balance(path string, s *processSection, to *springtide.Process) {
	if !to.HTTP {
		written := map[string]position{"try_timeout": s.TryTimeout.At, "slow_start": s.SlowStart.At}
		if s.Sticky != nil {
			written["sticky"] = s.Sticky.At
		}
		for _, key := range sortedKeys(written) {
			if at := written[key]; at.Line > 0 {
				r.problems.add(at, "%s.%s: it is given no requests; set http: true", path, key)
			}
		}
		return
	}
	to.TryTimeout, to.SlowStart = time.Duration(s.TryTimeout.Value), time.Duration(s.SlowStart.Value)
	if to.Timeout > 0 && to.TryTimeout >= to.Timeout {
		r.problems.add(s.TryTimeout.At, "%s.try_timeout: leaves no time for another instance, since the timeout is %s", path, formatDuration(to.Timeout))
	}
	if sticky := s.Sticky; sticky != nil && bool(sticky.Enabled.or(true)) {
		to.Sticky = &springtide.Sticky{Cookie: string(sticky.Cookie.or(springtide.StickyCookie)), For: time.Duration(sticky.For.Value)}
		if to.Sticky.For%time.Second != 0 {
			r.problems.add(sticky.For.At, "%s.sticky.for: want whole seconds, got %s", path, formatDuration(to.Sticky.For))
		}
	}
}

func (d *difference) balance(path, effect string, from, to springtide.Process) {
	d.value(path+".try_timeout", effect, orNothing(from.TryTimeout), orNothing(to.TryTimeout))
	d.value(path+".slow_start", effect, orNothing(from.SlowStart), orNothing(to.SlowStart))
	was, is := stickyOf(from), stickyOf(to)
	d.value(path+".sticky.cookie", effect, was.Cookie, is.Cookie)
	d.value(path+".sticky.for", effect, orNothing(was.For), orNothing(is.For))
}

func stickyOf(p springtide.Process) springtide.Sticky {
	if p.Sticky == nil {
		return springtide.Sticky{}
	}
	return *p.Sticky
}
