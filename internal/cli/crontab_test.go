package cli

import (
	"strings"
	"testing"

	"github.com/springtide/springtide/internal/cron"
	"github.com/springtide/springtide/internal/manifest"
)

// FuzzWhatIsImportedFromACrontabIsAManifest holds what is printed for any
// crontab file against the reader of manifests.
func FuzzWhatIsImportedFromACrontabIsAManifest(f *testing.F) {
	f.Add("0 3 * * * cd /srv && ./bin/backup.sh --all\n")
	f.Add("A=b c\n*/5 * * * * php artisan schedule:run\n@daily ./x%in%put\n")
	f.Add("0 0 * * 0 \"#\" '\\ ' \x01 \u2028 é\n")
	f.Add("1 1 1 1 * -\n2 2 * * * true\n2 2 * * * true\n")
	f.Fuzz(func(t *testing.T, text string) {
		read, err := cron.ReadCrontab(strings.NewReader(text), cron.CrontabOptions{})
		if err != nil || len(read.Entries) == 0 {
			return
		}
		section := schedulesSection(schedulesOf(read))
		if len(section) > 32<<10 {
			return // a manifest is shorter
		}
		m, err := manifest.Parse("tide.yaml", []byte("app: quiz\nprocesses:\n  web: { command: ./web }\n"+section))
		if err != nil {
			t.Fatalf("%v in\n%s", err, section)
		}
		if len(m.Notices) > 0 {
			t.Errorf("%v in\n%s", m.Notices, section)
		}
	})
}
