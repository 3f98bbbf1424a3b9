package main

import (
	"reflect"
	"strings"
	"testing"
)

func TestQuestionsAreReadAsPeopleTypeThem(t *testing.T) {
	got, err := parseQuestions("\nOne?\r\n* yes\r\n- no\r\n\nTwo?\n-a\n-b\n  *  c\n")
	if err != nil {
		t.Fatal(err)
	}
	want := []question{
		{"One?", []string{"yes", "no"}, 0},
		{"Two?", []string{"a", "b", "c"}, 2},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v", got)
	}
}

func TestWrongQuestionsAreRefusedWithTheLine(t *testing.T) {
	for text, want := range map[string]string{
		"":                                  "needs a question",
		"- a":                               "line 1",
		"q?\n* a\n* b":                      "line 3: a second right choice",
		"q?\n*\n- b":                        "line 2: an empty choice",
		"q?\n* a":                           "two choices",
		"q?\n- a\n- b":                      "no right choice",
		"q\n*a" + strings.Repeat("\n-b", 9): "at most 8",
		strings.Repeat("q\n*a\n-b\n", 51):   "at most 50",
	} {
		if _, err := parseQuestions(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.20q: got %v, want %q", text, err, want)
		}
	}
}

func FuzzParseQuestions(f *testing.F) {
	f.Add("One?\n* yes\n- no\n")
	f.Add("*\n-\n\n")
	f.Fuzz(func(t *testing.T, text string) {
		questions, err := parseQuestions(text)
		if err != nil {
			return
		}
		var again strings.Builder
		for _, q := range questions {
			if q.Right < 0 || q.Right >= len(q.Choices) {
				t.Fatalf("right choice %d of %d", q.Right, len(q.Choices))
			}
			again.WriteString(q.Text + "\n")
			for i, choice := range q.Choices {
				again.WriteString(map[bool]string{true: "*", false: "-"}[i == q.Right] + choice + "\n")
			}
		}
		if reread, err := parseQuestions(again.String()); err != nil || !reflect.DeepEqual(reread, questions) {
			t.Fatalf("%+v became %+v, %v", questions, reread, err)
		}
	})
}
