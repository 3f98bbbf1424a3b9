package edge

import (
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"

	"github.com/springtide/springtide"
)

// serveFile serves a request whose path is below a prefix of public files. It
// asks no instance, so the gate has no other part in it.
func (e *edge) serveFile(x *exchange, g *gate) bool {
	files := publicFiles(g.files.Load(), x.request.Target)
	if files == nil {
		return false
	}
	x.renew()
	to := destination{address: files.Address, folder: files.Folder, answerWithin: fileTimeout, account: unaccounted{}}
	if err := e.forwarder.forward(x, to); err != nil && !e.givenUp(x, err) {
		e.refuse(x, http.StatusBadGateway, 1, "the file cannot be had just now")
	}
	return true
}

// fileTimeout is how long it may take until a file begins to come.
const fileTimeout = 30 * time.Second

// publicFiles gives the files that a target is among, those of the longest
// prefix; nil if there are none. The path is compared decoded, and without the
// dots by which it could leave a folder or come into one.
func publicFiles(all *[]springtide.PublicFiles, target string) *springtide.PublicFiles {
	if all == nil || len(*all) == 0 || !strings.HasPrefix(target, "/") {
		return nil
	}
	decoded, _, _ := strings.Cut(target, "?")
	if strings.IndexByte(decoded, '%') >= 0 {
		var err error
		if decoded, err = url.PathUnescape(decoded); err != nil {
			return nil
		}
	}
	if strings.Contains(decoded, "/.") || strings.Contains(decoded, "//") {
		decoded = path.Clean(decoded)
	}
	var found *springtide.PublicFiles
	for i := range *all {
		files := &(*all)[i]
		below, ok := strings.CutPrefix(decoded, files.Prefix)
		if ok && (below == "" || below[0] == '/') && (found == nil || len(files.Prefix) > len(found.Prefix)) {
			found = files
		}
	}
	return found
}

// unaccounted is the account of what is not demand for instances.
type unaccounted struct{}

func (unaccounted) answer(int, time.Duration, bool, time.Time) {}
func (unaccounted) sent(int64)                                 {}
func (unaccounted) lettingGo() bool                            { return false }
func (unaccounted) another(int) bool                           { return false }
