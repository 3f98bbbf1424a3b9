package storetest

import (
	"encoding/json"
	"reflect"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/springtide/springtide"
)

// fieldTests give every field of what is stored a value, so that one that is
// added to the vocabulary is not forgotten here.
var fieldTests = []test{
	{"Every field of a release is kept", func(f *fixture) {
		f.environment(production)
		given := filled[springtide.Release]()
		given.Environment = production
		added, err := f.AddRelease(f.Context(), given)
		f.check(err)
		given.Number, given.Created, given.State, given.Reason = added.Number, added.Created, added.State, ""
		stored, err := f.Release(f.Context(), added.ID())
		f.check(err)
		f.wantSame(given, stored)
	}},
	{"Every field of a rollout is kept", func(f *fixture) {
		f.environment(production)
		given := filled[springtide.Rollout]()
		given.Release = f.release(production).ID()
		begun, err := f.BeginRollout(f.Context(), given)
		f.check(err)
		given.Generation, given.Step, given.Started = begun.Generation, begun.Step, begun.Started
		f.check(f.SaveRollout(f.Context(), given))
		stored, err := f.LastRollout(f.Context(), production)
		f.check(err)
		given.Updated = stored.Updated
		f.wantSame(given, stored)
	}},
	{"Every field of a group is kept", func(f *fixture) {
		f.environment(production)
		given := filled[springtide.Group]()
		given.ID.Environment, given.ID.Release = production, f.release(production).Number
		f.check(f.PutGroup(f.Context(), given))
		stored, err := f.Groups(f.Context())
		f.check(err)
		f.wantSame([]springtide.Group{given}, stored)
	}},
	{"Every field of a decision is kept", func(f *fixture) {
		f.environment(production)
		given := filled[springtide.Decision]()
		given.Group.Environment, given.Replayed = production, nil // that is not kept
		f.check(f.AddDecision(f.Context(), given))
		stored, err := f.Decisions(f.Context(), production, "", 0)
		f.check(err)
		f.wantSame([]springtide.Decision{given}, stored)
	}},
	{"Every field of an event is kept", func(f *fixture) {
		given := filled[springtide.Event]()
		added, err := f.AddEvents(f.Context(), []springtide.Event{given})
		f.check(err)
		given.Sequence = added[0].Sequence
		stored, err := f.Events(f.Context(), 0, nil, 0)
		f.check(err)
		f.wantSame([]springtide.Event{given}, stored)
	}},
}

func (f *fixture) wantSame(want, got any) {
	f.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		f.Errorf("given and stored differ:\n%s", diff)
	}
}

// filled gives a value with something in every field.
func filled[T any]() T {
	var value T
	fill(reflect.ValueOf(&value).Elem())
	return value
}

func fill(value reflect.Value) {
	if value.Type() == reflect.TypeFor[time.Time]() {
		value.Set(reflect.ValueOf(time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)))
		return
	}
	if value.Type() == reflect.TypeFor[json.RawMessage]() {
		value.SetBytes([]byte(`{"some":"JSON"}`))
		return
	}
	switch value.Kind() {
	case reflect.String:
		value.SetString("text of " + value.Type().Name())
	case reflect.Bool:
		value.SetBool(true)
	case reflect.Int, reflect.Int64:
		value.SetInt(7)
	case reflect.Uint8:
		value.SetUint(7)
	case reflect.Float64:
		value.SetFloat(1.25)
	case reflect.Struct:
		for _, field := range value.Fields() {
			fill(field)
		}
	case reflect.Slice:
		value.Set(reflect.MakeSlice(value.Type(), 2, 2))
		for i := range value.Len() {
			fill(value.Index(i))
		}
	case reflect.Map:
		key, element := reflect.New(value.Type().Key()).Elem(), reflect.New(value.Type().Elem()).Elem()
		fill(key)
		fill(element)
		value.Set(reflect.MakeMap(value.Type()))
		value.SetMapIndex(key, element)
	case reflect.Pointer:
		value.Set(reflect.New(value.Type().Elem()))
		fill(value.Elem())
	default:
		panic("a field of kind " + value.Kind().String())
	}
}
