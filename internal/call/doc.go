// Package call carries out requests that an app hands over to the platform.
//
//	run ─▶ Validate ─▶ host: breaker ─▶ pace ─▶ guard (at the dial) ─▶ answer ─▶ outcome
//	                     │ open         │ not soon
//	                     └──────────────┴─▶ given back, to be tried later; no failure counts
//
// A path goes to the app itself, over the edge, which wakes it if it sleeps. A
// URL goes out, but nowhere private. Each request carries the run's ID as
// Idempotency-Key, and a signature by Standard Webhooks
// (https://www.standardwebhooks.com, version 1.0.0).
package call
