package mariadb

import (
	"path/filepath"
	"slices"
	"testing"

	"github.com/springtide/springtide/internal/service"
)

// One that starts deletes the temporary tables of all that share its folder.
func TestNoServerSharesItsTemporaryTablesWithAnother(t *testing.T) {
	first, second := service.Server{Folder: "/services/quiz/production/db/1"}, service.Server{Folder: "/services/quiz/production/db/2"}
	for _, server := range []service.Server{first, second} {
		own := "--tmpdir=" + filepath.Join(server.Folder, "run")
		if args := (Driver{}).Process(server).Args; !slices.Contains(args, own) {
			t.Errorf("%s is started with %v", server.Folder, args)
		}
	}
}
