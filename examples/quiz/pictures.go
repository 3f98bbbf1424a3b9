package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
)

// mostPicture is how many bytes a picture may have.
const mostPicture = 2 << 20

// pictures keeps uploaded pictures as files named by their content.
type pictures struct {
	folder string
	name   *regexp.Regexp
}

func openPictures(folder string) (*pictures, error) {
	if folder == "" {
		folder = filepath.Join(os.TempDir(), "quiz-pictures")
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, err
	}
	return &pictures{folder: folder, name: regexp.MustCompile(`^[0-9a-f]{64}\.(png|jpg|gif|webp)$`)}, nil
}

// save keeps a picture and gives its name. The same picture twice is one file.
func (p *pictures) save(from io.Reader) (string, error) {
	data, err := io.ReadAll(io.LimitReader(from, mostPicture+1))
	if err != nil {
		return "", err
	}
	if len(data) > mostPicture {
		return "", fmt.Errorf("a picture may have %d bytes at most", mostPicture)
	}
	extension, ok := map[string]string{
		"image/png": ".png", "image/jpeg": ".jpg", "image/gif": ".gif", "image/webp": ".webp",
	}[http.DetectContentType(data)]
	if !ok {
		return "", errors.New("a picture has to be a PNG, JPEG, GIF or WebP")
	}
	sum := sha256.Sum256(data)
	name := hex.EncodeToString(sum[:]) + extension
	return name, writeWhole(filepath.Join(p.folder, name), data)
}

// writeWhole never shows half a file under its name.
func writeWhole(path string, data []byte) (err error) {
	file, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(file.Name())
		}
	}()
	if _, err = io.Copy(file, bytes.NewReader(data)); err != nil {
		file.Close()
		return err
	}
	if err = file.Close(); err != nil {
		return err
	}
	return os.Rename(file.Name(), path)
}

func (a *app) showPicture(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	if !a.pictures.name.MatchString(name) {
		a.problem(w, http.StatusNotFound, "There is no such picture.")
		return
	}
	file, err := os.Open(filepath.Join(a.pictures.folder, name))
	if err != nil {
		a.problem(w, http.StatusNotFound, "There is no such picture here.")
		return
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		a.problem(w, http.StatusInternalServerError, "That picture cannot be read.")
		return
	}
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	http.ServeContent(w, r, name, info.ModTime(), file)
}
