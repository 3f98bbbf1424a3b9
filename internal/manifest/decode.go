package manifest

import (
	"maps"
	"reflect"
	"slices"
	"strings"
)

// scalarField is a field that holds a scalar. Implemented by *set.
type scalarField interface {
	parse(n *node) error
	scalar() scalar
	isSet() bool
	attempted() bool
}

// shorthander is a section that may be written as one scalar.
type shorthander interface {
	shorthand() scalarField
}

// decoder reads nodes into the sections of a document.
type decoder struct {
	problems problems
	notices  []Notice
}

// field is a key of a section.
type field struct {
	key   string
	value reflect.Value
	tag   reflect.StructTag
}

// fieldsOf lists the keys of a section in their order, those of embedded
// sections last.
func fieldsOf(section reflect.Value) []field {
	var own, embedded []field
	for i := range section.NumField() {
		declared := section.Type().Field(i)
		key, _, _ := strings.Cut(declared.Tag.Get("json"), ",")
		switch {
		case declared.Anonymous:
			embedded = append(embedded, fieldsOf(section.Field(i))...)
		case key != "-":
			own = append(own, field{key, section.Field(i), declared.Tag})
		}
	}
	return append(own, embedded...)
}

// decode reads a node into a value of a document. The path names the value in
// messages: "processes.web.scale".
func (d *decoder) decode(n *node, at position, into reflect.Value, path string, tag reflect.StructTag) {
	if target, ok := reflect.TypeAssert[scalarField](into.Addr()); ok {
		d.decodeScalar(n, target, path, tag)
		return
	}
	if _, ok := reflect.TypeAssert[later](into); ok {
		d.notices = append(d.notices, notice(at, "%s: not carried out by this version", path))
		return
	}
	if n.kind == nothing || n.kind == refused { // a section whose keys are all commented out
		return
	}
	switch into.Kind() {
	case reflect.Pointer:
		into.Set(reflect.New(into.Type().Elem()))
		d.decodeSection(n, at, into, path)
	case reflect.Map:
		d.decodeMap(n, into, path)
	case reflect.Slice:
		if n.kind != list {
			d.problems.add(n.at, "%s: want a list, got %s", path, n.shown())
			return
		}
		into.Set(reflect.MakeSlice(into.Type(), len(n.items), len(n.items)))
		for i, item := range n.items {
			d.decode(item, item.at, into.Index(i), path, tag)
		}
	}
}

func (d *decoder) decodeScalar(n *node, target scalarField, path string, tag reflect.StructTag) {
	if err := target.parse(n); err != nil {
		d.problems.add(n.at, "%s: %v", path, err)
		return
	}
	amount, ok := target.scalar().(measured)
	if !ok || !target.isSet() {
		return
	}
	if least, ok := bound(tag, "minimum", amount); ok && amount.measure() < least.measure() {
		written, _ := least.write()
		d.problems.add(n.at, "%s: %s is too little; it is at least %s", path, n.text, written)
	}
	if most, ok := bound(tag, "maximum", amount); ok && amount.measure() > most.measure() {
		written, _ := most.write()
		d.problems.add(n.at, "%s: %s is too much; it is at most %s", path, n.text, written)
	}
}

// bound gives a limit from a field's tag, as the same kind of scalar as like.
func bound(tag reflect.StructTag, keyword string, like measured) (measured, bool) {
	for word := range strings.SplitSeq(tag.Get("jsonschema"), ",") {
		if written, ok := strings.CutPrefix(word, keyword+"="); ok {
			limit := reflect.New(reflect.TypeOf(like).Elem()).Interface().(measured)
			for _, kind := range []kind{number, text} {
				if limit.parse(&node{kind: kind, text: written}) == nil {
					return limit, true
				}
			}
		}
	}
	return nil, false
}

func (d *decoder) decodeSection(n *node, at position, into reflect.Value, path string) {
	section := into.Elem()
	section.FieldByName("At").Set(reflect.ValueOf(at))
	fields := fieldsOf(section)
	if short, ok := reflect.TypeAssert[shorthander](into); ok && n.kind != mapping && n.kind != list {
		for _, f := range fields {
			if f.value.Addr().Interface() == any(short.shorthand()) {
				d.decode(n, n.at, f.value, path, f.tag)
			}
		}
		return
	}
	if n.kind != mapping {
		d.problems.add(n.at, "%s: want a mapping (key: value), got %s", path, n.shown())
		return
	}
	for _, e := range n.entries {
		i := slices.IndexFunc(fields, func(f field) bool { return f.key == e.key })
		if i < 0 {
			d.unknownKey(e, path, fields)
			continue
		}
		d.decode(e.value, e.at, fields[i].value, join(path, e.key), fields[i].tag)
	}
}

func (d *decoder) unknownKey(e entry, path string, fields []field) {
	known := make([]string, len(fields))
	for i, f := range fields {
		known[i] = f.key
	}
	where := ""
	if path != "" {
		where = " in " + path
	}
	d.problems.add(e.at, "unknown key %q%s%s", shorten(e.key), where, didYouMean(e.key, known))
}

func (d *decoder) decodeMap(n *node, into reflect.Value, path string) {
	if n.kind != mapping {
		d.problems.add(n.at, "%s: want a mapping (key: value), got %s", path, n.shown())
		return
	}
	into.Set(reflect.MakeMapWithSize(into.Type(), len(n.entries)))
	for _, e := range n.entries {
		key := reflect.New(into.Type().Key())
		if err := key.Interface().(scalar).parse(&node{kind: text, text: e.key, at: e.at}); err != nil {
			d.problems.add(e.at, "%s: %v", path, err)
			continue
		}
		if e.value.kind == refused {
			continue
		}
		value := reflect.New(into.Type().Elem()).Elem()
		if value.Kind() == reflect.Pointer { // web: {} and web: with nothing are the same
			value.Set(reflect.New(value.Type().Elem()))
			value.Elem().FieldByName("At").Set(reflect.ValueOf(e.at))
		}
		d.decode(e.value, e.at, value, join(path, e.key), "")
		into.SetMapIndex(key.Elem(), value)
	}
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// overlay sets what is set in the other document too, where sections are
// merged, lists are replaced, and nothing is shared between the two.
func overlay(onto, other reflect.Value) {
	if field, ok := reflect.TypeAssert[scalarField](other.Addr()); ok {
		if field.isSet() || field.attempted() {
			onto.Set(other)
		}
		return
	}
	switch other.Kind() {
	case reflect.Pointer:
		if other.IsNil() {
			return
		}
		merged := reflect.New(other.Type().Elem())
		if !onto.IsNil() {
			overlay(merged.Elem(), onto.Elem())
		}
		overlay(merged.Elem(), other.Elem())
		onto.Set(merged)
	case reflect.Struct:
		if other.Type() == reflect.TypeFor[position]() {
			if other.FieldByName("Line").Int() > 0 {
				onto.Set(other)
			}
			return
		}
		for i := range other.NumField() {
			if other.Type().Field(i).Name != "laterSections" {
				overlay(onto.Field(i), other.Field(i))
			}
		}
	case reflect.Map:
		overlayMap(onto, other)
	case reflect.Slice:
		if !other.IsNil() {
			onto.Set(reflect.AppendSlice(reflect.MakeSlice(other.Type(), 0, other.Len()), other))
		}
	}
}

func overlayMap(onto, other reflect.Value) {
	if other.IsNil() {
		return
	}
	merged := reflect.MakeMap(other.Type())
	for _, source := range []reflect.Value{onto, other} {
		for entry := source.MapRange(); entry.Next(); {
			value := reflect.New(other.Type().Elem()).Elem()
			if before := merged.MapIndex(entry.Key()); before.IsValid() {
				value.Set(before)
			}
			from := reflect.New(other.Type().Elem()).Elem()
			from.Set(entry.Value())
			overlay(value, from)
			merged.SetMapIndex(entry.Key(), value)
		}
	}
	onto.Set(merged)
}

// sortedKeys gives the keys of a section's map in order.
func sortedKeys[K ~string, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }
