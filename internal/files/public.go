package files

import (
	"log/slog"
	"mime"
	"net/http"
	"path"
	"strings"

	"github.com/springtide/springtide"
)

// Public serves the files of folders that the manifest makes public, to whom it
// is not told otherwise. It never lists, follows no link out, and knows of no
// file whose name, or a part of it, begins with a dot.
type Public struct {
	store  *Store
	logger *slog.Logger
}

// NewPublic gives a handler for the edge to send such requests to. It must be
// reached by nobody else: it believes the header, though it gives nobody what
// everybody may not have.
func NewPublic(store *Store, logger *slog.Logger) *Public {
	return &Public{store: store, logger: logger}
}

// ServeHTTP answers for one file: whole, in ranges, or that it has not changed.
func (p *Public) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "only GET and HEAD", http.StatusMethodNotAllowed)
		return
	}
	file, err := p.open(r)
	if err != nil {
		switch springtide.KindOf(err) {
		case springtide.NotFound, springtide.Invalid, springtide.Conflict: // which of them is nobody's business
			http.NotFound(w, r)
		default:
			p.logger.Error("a public file cannot be read", "path", r.URL.Path, "error", err)
			http.Error(w, "the file cannot be read", http.StatusInternalServerError)
		}
		return
	}
	defer file.Close()
	header := w.Header()
	header.Set("Content-Type", TypeOf(file.Entry.Name))
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Etag", `"`+file.Entry.ETag+`"`)
	header.Set("Cache-Control", "public, no-cache")
	if runs(header.Get("Content-Type")) {
		// What somebody uploaded must not run as a page of the app.
		header.Set("Content-Disposition", "attachment")
		header.Set("Content-Security-Policy", "sandbox")
	}
	http.ServeContent(w, r, "", file.Entry.Modified, file)
}

func (p *Public) open(r *http.Request) (*File, error) {
	missing := springtide.Errorf(springtide.NotFound, "there is no such public file")
	parts := strings.Split(r.Header.Get(springtide.FolderHeader), "/")
	if len(parts) != 3 {
		return nil, missing
	}
	folder, err := p.store.Open(FolderID{springtide.EnvironmentID{App: springtide.AppName(parts[0]), Name: springtide.EnvironmentName(parts[1])}, springtide.FilesName(parts[2])})
	if err != nil {
		return nil, err
	}
	defer folder.Close()
	name := ""
	for _, prefix := range folder.Public {
		if below, ok := strings.CutPrefix(r.URL.Path, strings.TrimSuffix(prefix, "/")+"/"); ok && (name == "" || len(below) < len(name)) {
			name = below
		}
	}
	if strings.HasPrefix(name, ".") || strings.Contains(name, "/.") {
		return nil, missing
	}
	return folder.Read(name)
}

// TypeOf tells a type from a name. What has none is bytes, and is downloaded.
func TypeOf(name string) string {
	if found := mime.TypeByExtension(path.Ext(name)); found != "" {
		return found
	}
	return "application/octet-stream"
}

// runs reports whether a browser would run scripts in what has the type.
func runs(contentType string) bool {
	kind, _, _ := strings.Cut(contentType, ";")
	return kind == "text/html" || strings.HasSuffix(kind, "xml") || strings.Contains(kind, "xsl")
}
