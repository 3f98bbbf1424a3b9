package cron

import (
	_ "embed" // for the names of the zones
	"strings"
	"time"
	_ "time/tzdata" // zones are known also where the machine knows none

	"github.com/agnivade/levenshtein"

	"github.com/springtide/springtide"
)

// zoneNames are those of the IANA database, one a line: it is not to be asked
// for them.
//
//go:embed zones.txt
var zoneNames string

// LoadZone gives the zone of a name; empty: UTC.
func LoadZone(name string) (*time.Location, error) {
	// Local is another zone on each machine.
	if name != "Local" && len(name) < expressionLimit {
		if zone, err := time.LoadLocation(name); err == nil {
			return zone, nil
		}
	}
	err := springtide.Errorf(springtide.Invalid, "the timezone %q is not known", shorten(name))
	if near := nearestZone(name); near != "" {
		return nil, err.WithHint("did you mean %s?", near)
	}
	return nil, err.WithHint("write a name of the IANA database, like Europe/Berlin or UTC")
}

// nearestZone gives the name that was probably meant; empty if none is near.
// A city alone means the zone that is named after it, if no other name fits as
// well.
func nearestZone(written string) string {
	if len(written) > 40 {
		return ""
	}
	written = strings.ReplaceAll(strings.ToLower(written), " ", "_")
	best, distance := "", 2+2*min(3, len(written)/3)
	for name := range strings.Lines(zoneNames) {
		name = strings.TrimSpace(name)
		lower := strings.ToLower(name)
		city := lower[strings.LastIndexByte(lower, '/')+1:]
		if gap := min(abs(len(written)-len(lower)), abs(len(written)-len(city))); 2*gap >= distance {
			continue
		}
		d := min(2*levenshtein.ComputeDistance(written, lower), 2*levenshtein.ComputeDistance(written, city)+1)
		if d < distance {
			best, distance = name, d
		}
	}
	return best
}

func abs(n int) int { return max(n, -n) }
