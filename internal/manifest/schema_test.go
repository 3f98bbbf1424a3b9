package manifest

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/invopop/jsonschema"
)

func TestTheSchemaIsWhatTheTypesOfADocumentSay(t *testing.T) {
	generated, err := json.MarshalIndent(generateSchema(), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	generated = append(generated, '\n')
	if *update {
		if err := os.WriteFile("schema.json", generated, 0o666); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !bytes.Equal(generated, Schema()) {
		t.Error("run go test -update ./internal/manifest\n" + cmp.Diff(schema, string(generated)))
	}
}

func TestEveryKeyOfTheSchemaIsDescribed(t *testing.T) {
	var visit func(path string, value any)
	visit = func(path string, value any) {
		switch value := value.(type) {
		case map[string]any:
			if properties, ok := value["properties"].(map[string]any); ok {
				for key, property := range properties {
					if described, _ := property.(map[string]any)["description"].(string); !strings.HasSuffix(described, ".") {
						t.Errorf("%s.%s has no description", path, key)
					}
				}
			}
			for key, inner := range value {
				visit(path+"."+key, inner)
			}
		case []any:
			for _, inner := range value {
				visit(path, inner)
			}
		}
	}
	visit("", parseSchema(t))
}

func TestWhatIsAManifestFitsTheSchema(t *testing.T) {
	manifests := map[string]string{"the whole": quiz, "with jobs": letters, "with state": shop, "the shortest": "app: quiz\nprocesses: { web: ./web }\n"}
	for _, folder := range folders(t) {
		draft, err := Detect(folder)
		if err != nil {
			t.Fatal(err)
		}
		manifests[folder] = string(draft.YAML())
	}
	root := parseSchema(t)
	for name, yaml := range manifests {
		n, found := parseYAML(FileName, []byte(yaml), false)
		if err := found.err(); err != nil {
			t.Fatal(err)
		}
		for _, violation := range violations(root, root, "", n) {
			t.Errorf("%s: %s", name, violation)
		}
	}
}

func TestWhatIsNoManifestDoesNotFitTheSchema(t *testing.T) {
	root := parseSchema(t)
	for _, yaml := range []string{
		"app: quiz\nprocesses: { web: { comand: ./web } }\n",
		"app: quiz\nprocess: { web: ./web }\n",
		"app: Quiz\nprocesses: { web: ./web }\n",
		"app: quiz\nprocesses: { web: 12 }\n",
		"app: quiz\nprocesses: { web: { command: ./web, drain: 30 } }\n",
		"app: quiz\nprocesses: { web: { command: ./web, scale: { max: 0 } } }\n",
		"app: quiz\nprocesses: { web: { command: ./web, limits: { memory: 12 bytes } } }\n",
		"app: quiz\nprocesses: { web: ./web }\nenv: { 1A: x }\n",
		"processes: { web: ./web }\n",
		"app: quiz\nschedules: { tidy: { cron: 12 } }\n",
		"app: quiz\nschedules: { tidy: { cron: '@daily', missed: never } }\n",
		"app: quiz\njobs: { calls: { api.example.com/v1: 5 } }\n",
		"app: quiz\nservices: { db: oracle }\n",
		"app: quiz\nservices: { db: { postgres: new } }\n",
		"app: quiz\nbackups: { db: { daily: noon } }\n",
	} {
		n, _ := parseYAML(FileName, []byte(yaml), false)
		if len(violations(root, root, "", n)) == 0 {
			t.Errorf("fits the schema:\n%s", yaml)
		}
	}
}

// generateSchema reflects the types of a document.
func generateSchema() *jsonschema.Schema {
	reflector := &jsonschema.Reflector{
		Anonymous: true, ExpandedStruct: true, RequiredFromJSONSchemaTags: false,
		Mapper: scalarSchema,
		Namer:  func(t reflect.Type) string { return strings.TrimSuffix(t.Name(), "Section") },
	}
	generated := reflector.Reflect(&document{})
	generated.Title = "tide.yaml"
	generated.Description = "The manifest of an app for Springtide."
	for _, section := range []any{buildSection{}, processSection{}, healthSection{}, serviceSection{}, poolSection{}, filesSection{}, backupSection{}, cacheSection{}, stickySection{}} {
		definition := strings.TrimSuffix(reflect.TypeOf(section).Name(), "Section")
		full := generated.Definitions[definition]
		generated.Definitions[definition] = &jsonschema.Schema{OneOf: []*jsonschema.Schema{shorthandSchema(section), full}}
	}
	constrainKeys(generated)
	for _, definition := range generated.Definitions {
		constrainKeys(definition)
		for _, one := range definition.OneOf {
			constrainKeys(one)
		}
	}
	return generated
}

// scalarSchema gives the schema of what is written as one word; nil for sections.
func scalarSchema(t reflect.Type) *jsonschema.Schema {
	if t == reflect.TypeFor[later]() {
		return &jsonschema.Schema{}
	}
	if t.Kind() != reflect.Struct || !strings.HasPrefix(t.Name(), "set[") {
		return nil
	}
	field, _ := t.FieldByName("Value")
	if words, ok := reflect.TypeAssert[interface{ choices() []string }](reflect.Zero(field.Type)); ok {
		enum := make([]any, 0)
		for _, word := range words.choices() {
			enum = append(enum, word)
		}
		return &jsonschema.Schema{Type: "string", Enum: enum}
	}
	switch reflect.Zero(field.Type).Interface().(type) {
	case name:
		return &jsonschema.Schema{Type: "string", Pattern: namePattern.String(), MaxLength: new(uint64(nameLimit))}
	case content:
		return &jsonschema.Schema{OneOf: []*jsonschema.Schema{{Type: "string"}, {Type: "number"}, {Type: "boolean"}}}
	case cookieName:
		return &jsonschema.Schema{Type: "string", Pattern: "^[A-Za-z0-9_-]{1,64}$"}
	case command:
		return &jsonschema.Schema{Type: "string", MinLength: new(uint64(1))}
	case bucketURL:
		return &jsonschema.Schema{Type: "string", Pattern: "^s3://[^/@]+"}
	case publicPath:
		return &jsonschema.Schema{Type: "string", Pattern: "^/[^?%*]+$"}
	case cachedPaths:
		return &jsonschema.Schema{Type: "string", Pattern: "^[/*][^?#]*$"}
	case keyName:
		return &jsonschema.Schema{Type: "string", Pattern: "^[^ \t\",;=&?#]+$"}
	case urlPath:
		return &jsonschema.Schema{Type: "string", Pattern: "^/[!-\"$-~]*$"}
	case host:
		return &jsonschema.Schema{Type: "string", Pattern: `^(\*\.)?([A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?\.)+[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?$`}
	case pathPattern:
		return &jsonschema.Schema{Type: "string", Pattern: `^/([^?#%*]*/\*|[^?#%*]*|\*)$`}
	case headerName:
		return &jsonschema.Schema{Type: "string", Pattern: headerPattern.String()}
	case sourcePath:
		return &jsonschema.Schema{Type: "string", Pattern: `^[^/]`}
	case truth:
		return &jsonschema.Schema{Type: "boolean"}
	case count:
		return &jsonschema.Schema{Type: "integer"}
	case cores:
		return &jsonschema.Schema{Type: "number"}
	case expression, zone, address, repetition:
		return &jsonschema.Schema{Type: "string", MinLength: new(uint64(1))}
	case serviceVersion:
		return &jsonschema.Schema{OneOf: []*jsonschema.Schema{{Type: "number"}, {Type: "string", Pattern: `^(newest|[0-9]+(\.[0-9]+){0,2})$`}}}
	case serviceURL:
		return &jsonschema.Schema{Type: "string", Pattern: `^(secret:[A-Za-z_][A-Za-z0-9_]*|(postgres(ql)?|mysql|mariadb|rediss?)://.+)$`}
	case image, repository:
		return &jsonschema.Schema{Type: "string", Pattern: `^[A-Za-z0-9[][^ ]*$`}
	case folderPath:
		return &jsonschema.Schema{Type: "string", MinLength: new(uint64(1))}
	case extension:
		return &jsonschema.Schema{Type: "string", Pattern: extensionPattern.String()}
	case queueKey:
		return &jsonschema.Schema{Type: "string", MinLength: new(uint64(1))}
	case queuePlace:
		return &jsonschema.Schema{Type: "string", Pattern: `^([A-Za-z_][A-Za-z0-9_]*|(rediss?|https?)://.+)$`}
	case jsonPointer:
		return &jsonschema.Schema{Type: "string", Pattern: "^/"}
	case variable:
		return &jsonschema.Schema{Type: "string", Pattern: variablePattern.String()}
	case moment:
		return &jsonschema.Schema{Type: "string", Pattern: `^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}(:[0-9]{2})?(Z|[+-][0-9]{2}:[0-9]{2})?$`}
	case timeOfDay:
		return &jsonschema.Schema{Type: "string", Pattern: timeOfDayPattern.String()}
	case callURL:
		return &jsonschema.Schema{Type: "string", Pattern: "^(/|https?://)[!-\"$-~]*$"}
	case payload:
		return &jsonschema.Schema{}
	case rate:
		return &jsonschema.Schema{Type: "number", ExclusiveMinimum: "0", Maximum: json.Number(strconv.Itoa(rateLimit))}
	case percent:
		return &jsonschema.Schema{Type: "string", Pattern: `^[0-9]+(\.[0-9]+)? ?%$`}
	case priority:
		return &jsonschema.Schema{OneOf: []*jsonschema.Schema{{Type: "string", Enum: []any{"low", "normal", "high"}}, {Type: "integer"}}}
	case duration:
		return &jsonschema.Schema{Type: "string", Pattern: `^([0-9]+(\.[0-9]+)?(ms|s|m|h|d|w|y))+$`}
	case size:
		units := slices.SortedFunc(maps.Keys(sizeUnits), func(a, b string) int { return len(b)*100 - len(a)*100 + strings.Compare(a, b) })
		return &jsonschema.Schema{Type: "string", Pattern: `^[0-9]+(\.[0-9]+)? ?(` + strings.Join(units, "|") + `)$`}
	}
	panic("no schema for " + field.Type.String())
}

// shorthandSchema gives the schema of a section that is written as one word.
func shorthandSchema(section any) *jsonschema.Schema {
	into := reflect.New(reflect.TypeOf(section))
	short := into.Interface().(shorthander).shorthand()
	for _, f := range fieldsOf(into.Elem()) {
		if f.value.Addr().Interface() == any(short) {
			written := scalarSchema(f.value.Type())
			written.Description = f.tag.Get("jsonschema_description")
			return written
		}
	}
	panic("the shorthand is no field")
}

// constrainKeys says how the keys of maps are spelled.
func constrainKeys(s *jsonschema.Schema) {
	if s.Properties == nil {
		return
	}
	for pair := s.Properties.Oldest(); pair != nil; pair = pair.Next() {
		if pair.Value.Type != "object" {
			continue
		}
		pattern := namePattern.String()
		switch pair.Key {
		case "env":
			pattern = variablePattern.String()
		case "headers":
			pattern = headerPattern.String()
		case "error_pages":
			pattern = `^(413|429|502|503|504)$`
		case "calls":
			pattern = `^(\*|[A-Za-z0-9.:-]+)$`
		}
		pair.Value.PropertyNames = &jsonschema.Schema{Pattern: pattern}
	}
}

func parseSchema(t *testing.T) map[string]any {
	t.Helper()
	var parsed map[string]any
	if err := json.Unmarshal(Schema(), &parsed); err != nil {
		t.Fatal(err)
	}
	return parsed
}

// violations checks a value against the part of JSON Schema that is used here.
func violations(root, s map[string]any, path string, n *node) (found []string) {
	if ref, ok := s["$ref"].(string); ok {
		s = root["$defs"].(map[string]any)[strings.TrimPrefix(ref, "#/$defs/")].(map[string]any)
	}
	if choices, ok := s["oneOf"].([]any); ok {
		fitting := 0
		for _, choice := range choices {
			v := violations(root, choice.(map[string]any), path, n)
			if len(v) == 0 {
				fitting++
			}
			found = append(found, v...)
		}
		if fitting == 1 {
			return nil
		}
		return append(found, path+": fits none or several of the choices")
	}
	types := map[kind]string{nothing: "null", boolean: "boolean", number: "number", text: "string", list: "array", mapping: "object"}
	if want, ok := s["type"].(string); ok && want != types[n.kind] && (want != "integer" || n.kind != number) {
		return []string{path + ": is " + types[n.kind] + ", want " + want}
	}
	if pattern, ok := s["pattern"].(string); ok && !regexp.MustCompile(pattern).MatchString(n.text) {
		found = append(found, path+": "+n.text+" does not match "+pattern)
	}
	if words, ok := s["enum"].([]any); ok && !slices.Contains(words, any(n.text)) {
		found = append(found, path+": "+n.text+" is none of the words")
	}
	if least, ok := s["minimum"].(float64); ok {
		var written cores
		if written.parse(n) != nil || float64(written) < least {
			found = append(found, path+": is too little")
		}
	}
	properties, _ := s["properties"].(map[string]any)
	for _, e := range n.entries {
		where := path + "." + e.key
		if names, ok := s["propertyNames"].(map[string]any); ok {
			found = append(found, violations(root, names, where, &node{kind: text, text: e.key})...)
		}
		switch additional := s["additionalProperties"].(type) {
		case map[string]any:
			found = append(found, violations(root, additional, where, e.value)...)
		default:
			if property, known := properties[e.key].(map[string]any); known {
				found = append(found, violations(root, property, where, e.value)...)
			} else if additional == false {
				found = append(found, where+": unknown key")
			}
		}
	}
	required, _ := s["required"].([]any)
	for _, key := range required {
		if n.get(key.(string)) == nil {
			found = append(found, path+": lacks "+key.(string))
		}
	}
	if items, ok := s["items"].(map[string]any); ok {
		for _, item := range n.items {
			found = append(found, violations(root, items, path+"[]", item)...)
		}
	}
	return found
}
