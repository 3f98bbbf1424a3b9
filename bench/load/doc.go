// Package load drives traffic at a server and checks every answer: tests, the
// demo and the benchmarks use it.
//
// The load is open: requests leave when the [Schedule] says so, whether or not
// earlier ones have been answered, and a latency is counted from the moment a
// request was due. So a server that stalls is seen to stall.
//
// An answer is good if it is complete, has the status and the digest that were
// to be expected, says which instance made it, and belongs to the request it
// answers. Besides requests there are long-lived clients, WebSockets and event
// streams; each of their ends is classified: by drain, or by error.
package load
