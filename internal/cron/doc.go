// Package cron turns the expressions of schedules into times, and reads crontab
// files.
//
// An expression is five fields (minute, hour, day of month, month, day of week)
// as crontab(5) knows them, a name like "@daily", or an interval like "every
// 10m". Where a field of the day of month or of the week begins with "*", a day
// must match both fields; where neither does, one of them is enough.
//
// Where the clocks of a zone change, cron's rules as Debian keeps them hold. A
// schedule is fixed if neither its minute nor its hour begins with "*":
//
//	clocks go     a fixed time                     any other
//	forward       that is skipped comes once,      follows the clock: what is
//	              right after the change           skipped does not come
//	back          that is repeated comes once,     follows the clock: what is
//	              the first time                   repeated comes twice
//
// A change of three hours or more, as when a country moves across the date
// line, is a new calendar: every schedule just follows it.
package cron
