package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
)

// jsonDepth bounds the nesting of a JSON file.
const jsonDepth = 100

// parseJSON gives the value that the file holds; nil if it is empty.
func parseJSON(file string, data []byte) (*node, problems) {
	data, found := checkText(file, data)
	if found != nil {
		return nil, found
	}
	if len(bytes.TrimSpace(data)) == 0 {
		return nil, nil
	}
	j := jsonReader{file: file, data: data, decoder: json.NewDecoder(bytes.NewReader(data))}
	j.decoder.UseNumber()
	root, err := j.read(0)
	if err == nil {
		if _, extra := j.decoder.Token(); !errors.Is(extra, io.EOF) {
			err = errors.New("something follows the end of the JSON value")
		}
	}
	if err != nil {
		at := j.at(j.decoder.InputOffset())
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			err = errors.New("the file ends in the middle of a value")
		}
		if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
			at = j.at(syntax.Offset - 1)
		}
		j.problems.add(at, "not JSON: %v", err)
	}
	return root, j.problems
}

// jsonReader turns the tokens of a JSON file into nodes.
type jsonReader struct {
	file     string
	data     []byte
	decoder  *json.Decoder
	problems problems
}

// at gives the position of the first byte at or after the offset that is not
// white space or a separator.
func (j *jsonReader) at(offset int64) position {
	offset = max(0, min(offset, int64(len(j.data))))
	for offset < int64(len(j.data)) && bytes.IndexByte([]byte(" \t\r\n,:"), j.data[offset]) >= 0 {
		offset++
	}
	before := j.data[:offset]
	return position{j.file, 1 + bytes.Count(before, []byte("\n")), len(before) - bytes.LastIndexByte(before, '\n')}
}

func (j *jsonReader) read(depth int) (*node, error) {
	if depth > jsonDepth {
		return nil, errors.New("values are nested too deeply")
	}
	at := j.at(j.decoder.InputOffset())
	token, err := j.decoder.Token()
	if err != nil {
		return nil, err
	}
	switch token := token.(type) {
	case json.Delim:
		if token == '[' {
			return j.readList(at, depth)
		}
		return j.readMapping(at, depth)
	case string:
		return &node{kind: text, text: token, at: at}, nil
	case json.Number:
		return &node{kind: number, text: token.String(), at: at}, nil
	case bool:
		written := "false"
		if token {
			written = "true"
		}
		return &node{kind: boolean, text: written, at: at}, nil
	}
	return &node{kind: nothing, at: at}, nil
}

func (j *jsonReader) readList(at position, depth int) (*node, error) {
	read := &node{kind: list, at: at}
	for j.decoder.More() {
		item, err := j.read(depth + 1)
		if err != nil {
			return nil, err
		}
		read.items = append(read.items, item)
	}
	_, err := j.decoder.Token()
	return read, err
}

func (j *jsonReader) readMapping(at position, depth int) (*node, error) {
	read := &node{kind: mapping, at: at}
	seen := map[string]position{}
	for j.decoder.More() {
		key, err := j.read(depth + 1)
		if err != nil {
			return nil, err
		}
		value, err := j.read(depth + 1)
		if err != nil {
			return nil, err
		}
		if before, twice := seen[key.text]; twice {
			j.problems.add(key.at, "the key %q is already in line %d", key.text, before.Line)
			continue
		}
		seen[key.text] = key.at
		read.entries = append(read.entries, entry{key.text, key.at, value})
	}
	_, err := j.decoder.Token()
	return read, err
}
