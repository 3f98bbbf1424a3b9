package main

import (
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"

	"github.com/jackc/pgx/v5"
)

// words are what text is made of: it shrinks to about a fourth.
func words(random *rand.ChaCha8) []string {
	letters := rand.New(random)
	all := make([]string, 4096)
	for i := range all {
		word := make([]byte, 2+letters.IntN(9))
		for j := range word {
			word[j] = byte('a' + letters.IntN(26))
		}
		all[i] = string(word) + " "
	}
	return all
}

// content is a reader of text, or of what cannot be compressed, without an end.
func content(kind string, seed uint64) io.Reader {
	var key [32]byte
	key[0], key[1] = byte(seed), byte(seed>>8)
	random := rand.NewChaCha8(key)
	if kind != "text" {
		return random
	}
	return &text{words: words(random), random: rand.New(random)}
}

type text struct {
	words  []string
	random *rand.Rand
	rest   string
}

func (t *text) Read(p []byte) (n int, err error) {
	for n < len(p) {
		if t.rest == "" {
			// Some words are used far more often than others.
			t.rest = t.words[min(t.random.IntN(len(t.words)), t.random.IntN(len(t.words)), t.random.IntN(len(t.words)))]
		}
		m := copy(p[n:], t.rest)
		n, t.rest = n+m, t.rest[m:]
	}
	return n, nil
}

// rowSize is how much a row holds: so little that the server does not compress it.
const rowSize = 1800

// rowsOf gives rows for COPY until they hold so many bytes.
func rowsOf(from io.Reader, size int64) pgx.CopyFromSource {
	left := size / rowSize
	return pgx.CopyFromFunc(func() ([]any, error) {
		if left--; left < 0 {
			return nil, nil
		}
		body := make([]byte, rowSize)
		_, err := io.ReadFull(from, body)
		return []any{left, body}, err
	})
}

// fileSize is that of a shared file, in bytes.
const fileSize = 4 << 20

// writeFiles fills a folder with files.
func writeFiles(folder string, from io.Reader, size int64) error {
	for i := range int(size / fileSize) {
		file, err := os.Create(filepath.Join(folder, fmt.Sprintf("file-%03d", i)))
		if err != nil {
			return err
		}
		if _, err := io.CopyN(file, from, fileSize); err != nil {
			file.Close()
			return err
		}
		if err := file.Close(); err != nil {
			return err
		}
	}
	return nil
}
