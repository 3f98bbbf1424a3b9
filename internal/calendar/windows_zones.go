package calendar

import (
	_ "embed" // the table
	"strings"
)

// windowsZones has a line for each name that Windows has for a zone, and by which
// Outlook and Exchange call it: NAME=IANA, as Unicode CLDR's windowsZones says.
//
//go:embed windows_zones.txt
var windowsZones string

// ianaOf gives the IANA name of what Windows calls a zone.
func ianaOf(name string) (string, bool) {
	if strings.EqualFold(name, "tzone://Microsoft/Utc") {
		return "UTC", true
	}
	for line := range strings.Lines(windowsZones) {
		if windows, iana, _ := strings.Cut(strings.TrimSpace(line), "="); strings.EqualFold(windows, name) {
			return iana, true
		}
	}
	return "", false
}
