// Package call carries out requests that an app hands over to the platform.
package call

import (
	_ "github.com/sony/gobreaker/v2"
	_ "golang.org/x/time/rate"
)
