package api

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"reflect"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/springtide/springtide"
)

// The operations of this file are asked many times a second, by every runner.
// They are in the document as all are, but their bodies are decoded once and
// straight into their types, and what they check they check themselves: huma,
// which decodes them twice, takes twice the time.

// largeBody is how much is read of requests that carry a lot of jobs or output.
const largeBody = 32 << 20

// direct adds an operation whose handler takes the body of the request and gives
// that of the answer.
func direct[I, T any](r huma.API, mux humago.Mux, path, id, summary string, handler func(context.Context, springtide.EnvironmentID, I) (T, error)) {
	op := directOperation(r, path, id, summary)
	op.RequestBody = &huma.RequestBody{Required: true, Content: jsonOf[I](r, "").Content}
	op.Responses["200"] = jsonOf[T](r, "OK")
	r.OpenAPI().AddOperation(&op)
	mux.HandleFunc("POST "+path, func(w http.ResponseWriter, r *http.Request) {
		var body I
		err := readJSON(http.MaxBytesReader(w, r.Body, largeBody), &body)
		if err != nil {
			writeError(w, err)
			return
		}
		answer, err := handler(r.Context(), pathID(r), body)
		if err != nil {
			writeError(w, err)
			return
		}
		writeJSON(w, http.StatusOK, answer)
	})
}

// directOutput adds the operation that takes output.
func directOutput(r huma.API, mux humago.Mux, path, id, summary string, handler http.HandlerFunc) {
	op := directOperation(r, path, id, summary)
	for name, kind := range map[string]string{"run": huma.TypeString, "fence": huma.TypeInteger, "offset": huma.TypeInteger} {
		op.Parameters = append(op.Parameters, &huma.Param{Name: name, In: "query", Required: true, Schema: &huma.Schema{Type: kind}})
	}
	op.RequestBody = &huma.RequestBody{
		Description: "What was written, as it is; at most 32 MiB",
		Required:    true,
		Content:     map[string]*huma.MediaType{"application/octet-stream": {Schema: &huma.Schema{Type: "string", Format: "binary"}}},
	}
	op.Responses["200"] = jsonOf[OutputAnswer](r, "OK")
	r.OpenAPI().AddOperation(&op)
	mux.HandleFunc("POST "+path, handler)
}

func directOperation(r huma.API, path, id, summary string) huma.Operation {
	op := documented(r, operation(http.MethodPost, path, id, summary, http.StatusOK))
	for _, name := range []string{"app", "environment"} {
		op.Parameters = append(op.Parameters, &huma.Param{Name: name, In: "path", Required: true, Schema: &huma.Schema{Type: huma.TypeString}})
	}
	return op
}

// jsonOf documents an answer.
func jsonOf[T any](r huma.API, description string) *huma.Response {
	schema := r.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[T](), true, "")
	return &huma.Response{Description: description, Content: map[string]*huma.MediaType{"application/json": {Schema: schema}}}
}

// pathID is the environment that the path names.
func pathID(r *http.Request) springtide.EnvironmentID {
	return springtide.EnvironmentID{App: springtide.AppName(r.PathValue("app")), Name: springtide.EnvironmentName(r.PathValue("environment"))}
}

// readJSON reads one value, of which every field is known.
func readJSON(body io.Reader, into any) error {
	decoder := json.NewDecoder(body)
	decoder.DisallowUnknownFields()
	err := decoder.Decode(into)
	if err == nil {
		return nil
	}
	problem := problemOf(tooLarge(springtide.Errorf(springtide.Invalid, "the body: %s", strings.TrimPrefix(err.Error(), "json: ")), err))
	if _, ok := errors.AsType[*json.SyntaxError](err); ok || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		problem.status = http.StatusBadRequest
	}
	return problem
}

// tooLarge gives the first of the errors, or that the body is too large if one
// of them comes of that.
func tooLarge(all ...error) error {
	for _, err := range all {
		if large, ok := errors.AsType[*http.MaxBytesError](err); ok {
			problem := problemOf(springtide.Errorf(springtide.Invalid, "the body is larger than %d MiB", large.Limit>>20))
			problem.status = http.StatusRequestEntityTooLarge
			return problem
		}
	}
	return all[0]
}

func writeJSON(w http.ResponseWriter, status int, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(value) // the client may be gone: nothing to be done
}
