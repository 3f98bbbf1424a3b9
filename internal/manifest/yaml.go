package manifest

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

const (
	// sizeLimit bounds a manifest. The parser's time grows with the square of some
	// inputs: 64 KiB of them take about a second.
	sizeLimit = 64 << 10
	// nestLimit bounds unclosed brackets, on which the parser is slowest.
	nestLimit = 500
	// nodeLimit bounds what aliases may expand to.
	nodeLimit = 20_000
)

// wholeYAML is a number that the parser may take for text: it is large, or has an
// exponent and no point.
var wholeYAML = regexp.MustCompile(`^[-+]?(0|[1-9][0-9]*)([eE][-+]?[0-9]+)?$`)

// parseYAML gives the file's only document; nil if it is empty. Anchors, aliases
// and merge keys are followed if aliases says so, and refused otherwise.
func parseYAML(file string, data []byte, aliases bool) (*node, problems) {
	data, found := checkText(file, data)
	if found != nil {
		return nil, found
	}
	if at := tooDeep(file, data); at.Line > 0 {
		found.add(at, "brackets are nested too deeply")
		return nil, found
	}
	parsed, err := parseTokens(data)
	if err != nil {
		return nil, syntaxProblem(file, data, err)
	}
	var roots []ast.Node
	for _, document := range parsed.Docs {
		if _, directive := document.Body.(*ast.DirectiveNode); !directive && document.Body != nil {
			roots = append(roots, document.Body)
		}
	}
	if len(roots) == 0 {
		return nil, nil
	}
	y := yamlReader{file: file, aliases: aliases, anchors: map[string]*node{}}
	root := y.read(roots[0])
	if len(roots) > 1 {
		second := yamlReader{file: file, aliases: aliases, anchors: map[string]*node{}}
		y.problems.add(second.read(roots[1]).at, "a second YAML document begins here; a manifest is one document")
	}
	return root, y.problems
}

// checkText refuses what is no text of reasonable size, and strips a byte order mark.
func checkText(file string, data []byte) (checked []byte, found problems) {
	if len(data) > sizeLimit {
		found.add(position{File: file}, "is larger than %d KiB", sizeLimit>>10)
		return nil, found
	}
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	line, column := 1, 1
	for rest := data; len(rest) > 0; {
		r, size := utf8.DecodeRune(rest)
		at := position{file, line, column}
		switch {
		case r == utf8.RuneError && size == 1:
			found.add(at, "the byte 0x%02x is not UTF-8; save the file as UTF-8", rest[0])
			return nil, found
		case r < ' ' && r != '\n' && r != '\r' && r != '\t', r == 0x7f:
			found.add(at, "a control character (0x%02x) has no place here", r)
			return nil, found
		}
		column++
		if r == '\n' {
			line, column = line+1, 1
		}
		rest = rest[size:]
	}
	return data, nil
}

// tooDeep gives the position of the first bracket beyond the limit.
func tooDeep(file string, data []byte) position {
	depth, line, start := 0, 1, 0
	for i, c := range data {
		switch c {
		case '\n':
			line, start = line+1, i+1
		case '[', '{':
			if depth++; depth > nestLimit {
				return position{file, line, i - start + 1}
			}
		case ']', '}':
			depth = max(0, depth-1)
		}
	}
	return position{}
}

// parseTokens turns a panic of the parser into an error: what a user wrote must
// not end the process.
func parseTokens(data []byte) (file *ast.File, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("this is no YAML that can be read (%v)", r)
		}
	}()
	// Duplicate keys are allowed here so that all of them are reported, not the first.
	return parser.ParseBytes(data, 0, parser.AllowDuplicateMapKey())
}

func syntaxProblem(file string, data []byte, err error) (found problems) {
	at, message := position{File: file}, err.Error()
	if syntax, ok := errors.AsType[*yaml.SyntaxError](err); ok {
		message = syntax.Message
		if syntax.Token != nil && syntax.Token.Position != nil {
			at.Line, at.Column = syntax.Token.Position.Line, syntax.Token.Position.Column
		}
	}
	lines := bytes.Split(data, []byte("\n"))
	if at.Line > 0 && at.Line <= len(lines) {
		line := lines[at.Line-1]
		indent := line[:len(line)-len(bytes.TrimLeft(line, " \t"))]
		if tab := bytes.IndexByte(indent, '\t'); tab >= 0 {
			found.add(position{file, at.Line, tab + 1}, "a tab indents this line; indent with spaces")
			return found
		}
	}
	switch {
	case strings.Contains(message, "mapping value is not allowed"):
		message += "; put a value that contains \": \" in quotes"
	case strings.Contains(message, "value is not allowed"):
		message += "; check the indentation of this line and of the one before"
	case strings.Contains(message, "reserved character"), strings.Contains(message, "directive value"):
		message += "; put the value in quotes"
	}
	found.add(at, "%s", strings.TrimSpace(message))
	return found
}

// yamlReader turns the parser's tree into nodes.
type yamlReader struct {
	file     string
	aliases  bool
	anchors  map[string]*node
	nodes    int
	problems problems
}

func (y *yamlReader) at(t *token.Token) position {
	if t == nil || t.Position == nil {
		return position{File: y.file}
	}
	return position{y.file, t.Position.Line, t.Position.Column}
}

// refuse records a problem and gives a node to go on with.
func (y *yamlReader) refuse(at position, format string, args ...any) *node {
	y.problems.add(at, format, args...)
	return &node{kind: refused, at: at}
}

func (y *yamlReader) read(from ast.Node) *node {
	if from == nil {
		return &node{kind: nothing, at: position{File: y.file}}
	}
	at := y.at(from.GetToken())
	switch from := from.(type) {
	case *ast.MappingNode:
		return y.readMapping(from, at)
	case *ast.SequenceNode:
		read := &node{kind: list, at: at}
		for _, item := range from.Values {
			read.items = append(read.items, y.read(item))
		}
		return read
	case *ast.AnchorNode:
		return y.readAnchor(from, at)
	case *ast.AliasNode:
		return y.readAlias(from, at)
	case *ast.TagNode:
		if !y.aliases {
			return y.refuse(at, "YAML tags (%s) have no meaning here", from.Start.Value)
		}
		return y.read(from.Value)
	case *ast.NullNode:
		return &node{kind: nothing, at: at}
	case *ast.BoolNode:
		return &node{kind: boolean, text: from.Token.Value, at: at}
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return &node{kind: number, text: from.GetToken().Value, at: at}
	case *ast.StringNode:
		if from.Token.Type == token.StringType && wholeYAML.MatchString(from.Value) {
			return &node{kind: number, text: from.Value, at: at}
		}
		return &node{kind: text, text: from.Value, at: at}
	case *ast.LiteralNode:
		return &node{kind: text, text: from.Value.Value, at: at}
	}
	return y.refuse(at, "this kind of YAML (%s) has no meaning here", from.Type())
}

func (y *yamlReader) readMapping(from *ast.MappingNode, at position) *node {
	read := &node{kind: mapping, at: at}
	if len(from.Values) > 0 {
		read.at = y.at(from.Values[0].Key.GetToken())
	}
	seen := map[string]position{}
	var merged []*node
	for _, value := range from.Values {
		if _, merge := value.Key.(*ast.MergeKeyNode); merge {
			if !y.aliases {
				return y.refuse(y.at(value.Key.GetToken()), "merge keys (<<) have no meaning here; write the keys out")
			}
			merged = append(merged, y.read(value.Value))
			continue
		}
		keyAt, key := y.key(value.Key)
		if before, twice := seen[key]; twice {
			y.problems.add(keyAt, "the key %q is already in line %d", key, before.Line)
			continue
		}
		seen[key] = keyAt
		read.entries = append(read.entries, entry{key, keyAt, y.read(value.Value)})
	}
	for _, source := range merged {
		for _, from := range slices.Concat(source.items, []*node{source}) {
			for _, e := range from.entries {
				if _, own := seen[e.key]; !own && y.count(e.value) {
					seen[e.key] = e.at
					read.entries = append(read.entries, e)
				}
			}
		}
	}
	return read
}

func (y *yamlReader) key(from ast.MapKeyNode) (position, string) {
	if explicit, ok := from.(*ast.MappingKeyNode); ok && explicit.Value != nil {
		return y.at(explicit.Value.GetToken()), explicit.Value.GetToken().Value
	}
	if quoted, ok := from.(*ast.StringNode); ok {
		return y.at(from.GetToken()), quoted.Value
	}
	return y.at(from.GetToken()), from.GetToken().Value
}

func (y *yamlReader) readAnchor(from *ast.AnchorNode, at position) *node {
	if !y.aliases {
		return y.refuse(at, "YAML anchors (&) have no meaning here; write the value out")
	}
	read := y.read(from.Value)
	y.anchors[from.Name.GetToken().Value] = read
	return read
}

func (y *yamlReader) readAlias(from *ast.AliasNode, at position) *node {
	if !y.aliases {
		return y.refuse(at, "YAML aliases (*) have no meaning here; write the value out")
	}
	name := from.Value.GetToken().Value
	read, known := y.anchors[name]
	if !known {
		return y.refuse(at, "there is no anchor &%s before this alias", name)
	}
	if spent := y.nodes > nodeLimit; spent {
		return &node{kind: refused, at: at}
	}
	if !y.count(read) {
		return y.refuse(at, "aliases expand to more than %d values", nodeLimit)
	}
	return read
}

// count adds what an alias stands for to what was expanded so far, and reports
// whether that is within bounds: nested aliases grow exponentially.
func (y *yamlReader) count(n *node) bool {
	y.nodes++
	for _, item := range n.items {
		if y.nodes > nodeLimit || !y.count(item) {
			return false
		}
	}
	for _, e := range n.entries {
		if y.nodes > nodeLimit || !y.count(e.value) {
			return false
		}
	}
	return y.nodes <= nodeLimit
}
