// Package simulate plays a trace of requests to laws of scaling and tells what
// each cost, and whom.
//
//	Trace ──▶ Run ── Sight ──▶ Subject
//	           │ ▲                │
//	           │ └─ how many ─────┘
//	           ▼
//	        Outcome ──▶ Figures
//
// Every request is played on its own, in steps of 10 ms (less where requests take
// less than 200 ms). Arrivals are independent (Poisson) or come in clumps, service
// times are log-normal with a deviation as large as their mean, cold starts
// log-normal with a 99th percentile half as long again as the median. An instance
// has its slots; what exceeds all slots waits in one queue, and is dropped when it
// has waited for too long. All of it follows from the seed.
//
// [Law] is the product's own code, package scale. The other laws are written anew
// from what is published of them.
package simulate
