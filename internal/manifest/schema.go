package manifest

import (
	_ "embed" // for the schema
)

// schema is what the tests generate from the types of a document. It is embedded
// since the generator costs each process of the platform a megabyte of memory.
//
//go:embed schema.json
var schema string

// Schema gives the JSON Schema of tide.yaml, for editors.
func Schema() []byte { return []byte(schema) }
