package main

import (
	"errors"
	"fmt"
	"strings"
)

// Limits of one quiz.
const (
	mostQuestions = 50
	mostChoices   = 8
)

// parseQuestions reads questions as people type them: a line of question, then
// a line for each choice that begins with "-", or with "*" if it is right.
//
//	What raises the spring tide?
//	* Sun and Moon in line
//	- Melting snow
func parseQuestions(text string) ([]question, error) {
	var questions []question
	number := 0
	for line := range strings.Lines(text) {
		number++
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		if line[0] != '-' && line[0] != '*' {
			questions = append(questions, question{Text: line, Right: -1})
			continue
		}
		if len(questions) == 0 {
			return nil, fmt.Errorf("line %d: a choice before the first question", number)
		}
		last := &questions[len(questions)-1]
		if err := last.choose(strings.TrimSpace(line[1:]), line[0] == '*'); err != nil {
			return nil, fmt.Errorf("line %d: %w", number, err)
		}
	}
	return questions, check(questions)
}

func (q *question) choose(choice string, right bool) error {
	if choice == "" {
		return errors.New("an empty choice")
	}
	if right && q.Right >= 0 {
		return errors.New("a second right choice")
	}
	if right {
		q.Right = len(q.Choices)
	}
	q.Choices = append(q.Choices, choice)
	return nil
}

func check(questions []question) error {
	if len(questions) == 0 {
		return errors.New("a quiz needs a question")
	}
	if len(questions) > mostQuestions {
		return fmt.Errorf("%d questions: at most %d", len(questions), mostQuestions)
	}
	for _, q := range questions {
		switch {
		case len(q.Choices) < 2:
			return fmt.Errorf("%q needs two choices or more: lines that begin with - or *", q.Text)
		case len(q.Choices) > mostChoices:
			return fmt.Errorf("%q has %d choices: at most %d", q.Text, len(q.Choices), mostChoices)
		case q.Right < 0:
			return fmt.Errorf("%q has no right choice: a line that begins with *", q.Text)
		}
	}
	return nil
}
