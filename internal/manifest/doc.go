// Package manifest reads what a folder says about its app into a
// [springtide.App], and writes such a description for a folder that has none.
//
// A manifest is looked for in this order: tide.yaml, Procfile (with app.json
// beside it), compose.yaml and its other names, app.json alone. Whatever the
// format, it becomes a document, the Go types of tide.yaml:
//
//	tide.yaml ─ yaml.go ─┐
//	                     ├─▶ node ── decode.go ──▶ document ── resolve.go ──▶ App
//	app.json ── json.go ─┘                            ▲  │
//	Procfile, compose.yaml, app.json, source code ────┘  └─ draft.go ──▶ tide.yaml
//
// Every value of a document knows where it was written, so that each mistake is
// reported with file, line and column, all of them together.
package manifest
