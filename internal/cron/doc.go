// Package cron turns the expressions of schedules into times.
package cron

import _ "github.com/robfig/cron/v3"
