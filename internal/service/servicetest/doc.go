// Package servicetest is the conformance suite of drivers of services: it runs
// real servers through what the manager does with them.
package servicetest
