// Package observe tells what happens: [Events] to users who look on or back,
// [Metrics] to Prometheus.
//
// An event goes this way:
//
//	Publish → queue → Run: kept in the store, in batches → every subscription
//
// The publisher waits for nothing. A subscription is history first, then live;
// one that is too slow for live goes back to history.
package observe
