// Package api serves the platform over HTTP: on a Unix socket, where whoever
// can open it is the owner, and over TLS with bearer tokens.
//
// Every route is in routes.go; what it serves is in platform.go. The OpenAPI
// document at /openapi.json is made from the Go types. An error is answered
// with the status of its kind and the body {"error": {kind, message, hint,
// lines}}. Lists that go on while the client reads are of two forms: events and
// live figures are Server-Sent Events (each has a type, and events have an ID
// to resume after), lines of logs are NDJSON, as engines write them.
package api
