// Package calendar knows when what is announced happens: once, or again and again
// by the recurrence rules of RFC 5545, by the clock of a time zone. It reads the
// files that calendars export ([Read]).
//
// Everything it expands is bounded: rules repeat daily at most, and only what
// begins before a given time is looked for.
package calendar
