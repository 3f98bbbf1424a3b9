package client_test

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/springtide/springtide/internal/api"
	"github.com/springtide/springtide/internal/client"
)

// serveFolders is a platform with a shared folder of folders. As of a real one,
// a page goes on behind all that is in a folder if its name ends with a slash,
// and else with what comes after the name: what is in the folder.
func serveFolders(t *testing.T, names []string) *client.Client {
	t.Helper()
	data := t.TempDir()
	if err := os.Mkdir(filepath.Join(data, "run"), 0o700); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("unix", filepath.Join(data, "run", "api.sock"))
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		after := r.URL.Query().Get("after")
		limit, _ := strconv.Atoi(r.URL.Query().Get("limit"))
		page := []api.FileInfo{}
		for _, name := range names {
			if name+"/file" > after && name+"/" != after && len(page) < limit {
				page = append(page, api.FileInfo{Path: name, Folder: true})
			}
		}
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(page); err != nil {
			t.Error(err)
		}
	})}
	go server.Serve(listener)
	t.Cleanup(func() { server.Close() })
	return connect(t, client.Options{Data: data})
}

func TestAPageThatEndsWithAFolderIsGoneOnBehind(t *testing.T) {
	var names []string
	for i := range 2500 {
		names = append(names, fmt.Sprintf("%04d", i))
	}
	files, err := serveFolders(t, names).ListFiles(t.Context(), quiz, api.FilePlace{Files: "uploads"}, false)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, file := range files {
		got = append(got, file.Path)
	}
	if !slices.Equal(got, names) {
		t.Errorf("of %d folders %d were listed, %d of them different", len(names), len(got), len(slices.Compact(got)))
	}
}
