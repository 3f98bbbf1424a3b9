package api

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/springtide/springtide"
)

// The functions of this file register an operation each: get, do, create,
// accept and change are plain; upload, events, live, lines and terminal stream.

// answer is the output of an operation with a body.
type answer[T any] struct{ Body T }

// register adds an operation whose handler gives the body of its answer.
func register[I, T any](r huma.API, op huma.Operation, handler func(context.Context, *I) (T, error)) {
	huma.Register(r, documented(r, op), func(ctx context.Context, in *I) (*answer[T], error) {
		body, err := handler(ctx, in)
		if err != nil {
			return nil, problemOf(err)
		}
		return &answer[T]{emptyNotNull(body)}, nil
	})
}

func get[I, T any](r huma.API, path, id, summary string, handler func(context.Context, *I) (T, error)) {
	register(r, operation("GET", path, id, summary, http.StatusOK), handler)
}

// change is an operation that answers with what there is now.
func change[I, T any](r huma.API, method, path, id, summary string, handler func(context.Context, *I) (T, error)) {
	register(r, operation(method, path, id, summary, http.StatusOK), handler)
}

// create answers 201.
func create[I, T any](r huma.API, path, id, summary string, handler func(context.Context, *I) (T, error)) {
	register(r, operation("POST", path, id, summary, http.StatusCreated), handler)
}

// accept answers 202: the work goes on.
func accept[I, T any](r huma.API, path, id, summary string, handler func(context.Context, *I) (T, error)) {
	register(r, operation("POST", path, id, summary, http.StatusAccepted), handler)
}

// do answers 204.
func do[I any](r huma.API, method, path, id, summary string, handler func(context.Context, *I) error) {
	op := documented(r, operation(method, path, id, summary, http.StatusNoContent))
	huma.Register(r, op, func(ctx context.Context, in *I) (*struct{}, error) {
		if err := handler(ctx, in); err != nil {
			return nil, problemOf(err)
		}
		return nil, nil
	})
}

// createLarge answers 201; its body may have [largeBody].
func createLarge[I, T any](r huma.API, path, id, summary string, handler func(context.Context, *I) (T, error)) {
	op := operation("POST", path, id, summary, http.StatusCreated)
	op.MaxBodyBytes = largeBody
	register(r, op, handler)
}

// upload takes a body as it comes; its input reads it with a resolver.
func upload[I, T any](r huma.API, path, id, summary string, handler func(context.Context, *I) (T, error)) {
	op := operation("POST", path, id, summary, http.StatusAccepted)
	op.RequestBody = &huma.RequestBody{
		Description: "The app's folder as tar.gz, at most 2 GiB",
		Required:    true,
		Content:     map[string]*huma.MediaType{"application/gzip": {Schema: &huma.Schema{Type: "string", Format: "binary"}}},
	}
	register(r, op, handler)
}

// put takes a body as it comes; its input reads it with a resolver.
func put[I, T any](r huma.API, path, id, summary string, handler func(context.Context, *I) (T, error)) {
	op := operation("PUT", path, id, summary, http.StatusOK)
	op.RequestBody = &huma.RequestBody{
		Description: "The file as it is",
		Content:     map[string]*huma.MediaType{"application/octet-stream": {Schema: &huma.Schema{Type: "string", Format: "binary"}}},
	}
	register(r, op, handler)
}

// take takes a body as it comes; its input reads it with a resolver.
func take[I, T any](r huma.API, path, id, summary string, handler func(context.Context, *I) (T, error)) {
	op := operation("POST", path, id, summary, http.StatusOK)
	op.RequestBody = &huma.RequestBody{
		Description: "The file as it is",
		Required:    true,
		Content:     map[string]*huma.MediaType{"application/x-tar": {Schema: &huma.Schema{Type: "string", Format: "binary"}}},
	}
	register(r, op, handler)
}

// download answers a POST with a file as it comes.
func download[I any](r huma.API, path, id, summary string, handler func(context.Context, *I) (func(huma.Context), error)) {
	streaming(r, operation("POST", path, id, summary, http.StatusOK), http.StatusOK, &huma.Response{
		Description: "The file, as it is",
		Content:     map[string]*huma.MediaType{"application/octet-stream": {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}},
	}, handler)
}

// streaming adds an operation whose answer goes on: the handler gives what
// writes it.
func streaming[I any](r huma.API, op huma.Operation, status int, answered *huma.Response, handler func(context.Context, *I) (func(huma.Context), error)) {
	op = documented(r, op)
	op.DefaultStatus = status
	op.Responses[strconv.Itoa(status)] = answered
	huma.Register(r, op, func(ctx context.Context, in *I) (*huma.StreamResponse, error) {
		write, err := handler(ctx, in)
		if err != nil {
			return nil, problemOf(err)
		}
		return &huma.StreamResponse{Body: write}, nil
	})
}

// events answers with Server-Sent Events of [springtide.Event].
func events[I any](r huma.API, path, id, summary string, handler func(context.Context, *I) (func(huma.Context), error)) {
	streaming(r, operation("GET", path, id, summary, http.StatusOK), http.StatusOK,
		streamOf[springtide.Event](r, "text/event-stream", "Events named \"event\", with their sequence number as ID; the last may be an \"error\""), handler)
}

// live answers with Server-Sent Events of [Figures].
func live[I any](r huma.API, path, id, summary string, handler func(context.Context, *I) (func(huma.Context), error)) {
	streaming(r, operation("GET", path, id, summary, http.StatusOK), http.StatusOK,
		streamOf[Figures](r, "text/event-stream", "Events named \"figures\"; the last may be an \"error\""), handler)
}

// lines answers with lines of JSON of [springtide.LogLine].
func lines[I any](r huma.API, path, id, summary string, handler func(context.Context, *I) (func(huma.Context), error)) {
	streaming(r, operation("GET", path, id, summary, http.StatusOK), http.StatusOK,
		streamOf[springtide.LogLine](r, "application/x-ndjson", "One object a line, in order of time"), handler)
}

// plain answers with text of a type, as it comes.
func plain[I any](r huma.API, path, id, contentType, summary string, handler func(context.Context, *I) (func(huma.Context), error)) {
	streaming(r, operation("GET", path, id, summary, http.StatusOK), http.StatusOK, &huma.Response{
		Description: "The text, as it is",
		Content:     map[string]*huma.MediaType{contentType: {Schema: &huma.Schema{Type: huma.TypeString}}},
	}, handler)
}

// terminal answers by becoming a WebSocket.
func terminal[I any](r huma.API, path, id, summary string, handler func(context.Context, *I) (func(huma.Context), error)) {
	streaming(r, operation("GET", path, id, summary, http.StatusSwitchingProtocols), http.StatusSwitchingProtocols,
		&huma.Response{Description: "Binary messages are what is typed and shown; text messages are JSON: {\"resize\":{\"rows\":24,\"columns\":80}} from the client, {\"exit\":0} as the server's last"}, handler)
}

func streamOf[T any](r huma.API, contentType, description string) *huma.Response {
	schema := r.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[T](), true, "")
	return &huma.Response{
		Description: description,
		Content:     map[string]*huma.MediaType{contentType: {Schema: schema}},
	}
}

func operation(method, path, id, summary string, status int) huma.Operation {
	tag := "platform"
	if strings.Contains(path, "/apps") || strings.Contains(path, "/deploys") {
		tag = "apps"
	}
	return huma.Operation{
		Method: method, Path: path, OperationID: id, Summary: summary,
		DefaultStatus: status, Tags: []string{tag},
		BodyReadTimeout: -1, // a source may be long on its way
	}
}

// documented names the errors that an operation may answer with: those of any,
// and those of its kind.
func documented(r huma.API, op huma.Operation) huma.Operation {
	kinds := []springtide.ErrorKind{
		springtide.Invalid, springtide.Unauthorized, springtide.Denied, springtide.Internal, springtide.Unavailable,
	}
	if strings.Contains(op.Path, "{") {
		kinds = append(kinds, springtide.NotFound)
	}
	if op.Method != http.MethodGet {
		kinds = append(kinds, springtide.Conflict, springtide.Failed)
	}
	schema := r.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[Problem](), true, "")
	op.Responses = map[string]*huma.Response{}
	for _, kind := range kinds {
		op.Responses[strconv.Itoa(kind.Status())] = &huma.Response{
			Description: http.StatusText(kind.Status()) + ": error of kind " + string(kind),
			Content:     map[string]*huma.MediaType{"application/json": {Schema: schema}},
		}
	}
	return op
}

// emptyNotNull makes [] of a nil slice, so that a list is always a list.
func emptyNotNull[T any](body T) T {
	value := reflect.ValueOf(&body).Elem()
	switch {
	case value.Kind() == reflect.Slice && value.IsNil():
		value.Set(reflect.MakeSlice(value.Type(), 0, 0))
	case value.Kind() == reflect.Map && value.IsNil():
		value.Set(reflect.MakeMap(value.Type()))
	}
	return body
}

// document serves the OpenAPI document. It is written anew each time: it is
// asked for rarely, and large.
func document(r huma.API) http.Handler {
	delete(r.OpenAPI().Components.Schemas.Map(), "ErrorModel") // huma's own, which we never answer with
	delete(r.OpenAPI().Components.Schemas.Map(), "ErrorDetail")
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/openapi+json")
		encoder := json.NewEncoder(w)
		encoder.SetIndent("", "  ")
		_ = encoder.Encode(r.OpenAPI()) // the client may be gone: nothing to be done
	})
}

// otherwise answers what no route does.
func otherwise(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		allowed := []string{}
		for _, method := range []string{"DELETE", "GET", "PATCH", "POST", "PUT"} {
			other := r.Clone(r.Context())
			other.Method = method
			if _, pattern := mux.Handler(other); pattern != "/" {
				allowed = append(allowed, method)
			}
		}
		if len(allowed) > 0 && !slices.Contains(allowed, r.Method) {
			w.Header().Set("Allow", strings.Join(allowed, ", "))
			problem := problemOf(springtide.Errorf(springtide.Invalid, "%s does not take %s", r.URL.Path, r.Method))
			problem.status = http.StatusMethodNotAllowed
			writeError(w, problem)
			return
		}
		writeError(w, noRoute(r))
	})
}

func noRoute(r *http.Request) error {
	return springtide.Errorf(springtide.NotFound, "there is no %s", r.URL.Path).
		WithHint("every path is in /openapi.json")
}

// wholeBody keeps the reader of the body for a handler that streams it.
type wholeBody struct{ reader io.Reader }

// Resolve is called by huma before the handler.
func (b *wholeBody) Resolve(ctx huma.Context) []error {
	b.reader = ctx.BodyReader()
	return nil
}
