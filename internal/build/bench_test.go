package build

import (
	"crypto/rand"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// BenchmarkDeployedSource measures what the platform adds to an app's own build:
// packing the folder, unpacking the upload, copying, and making the artifact.
func BenchmarkDeployedSource(b *testing.B) {
	for _, size := range []struct {
		name         string
		files, bytes int
	}{
		{"2MiB in 100 files", 100, 2 << 20},
		{"50MiB in 1000 files", 1000, 50 << 20},
		{"50MiB in 3 files", 3, 50 << 20},
	} {
		b.Run(size.name, func(b *testing.B) {
			source := b.TempDir()
			for i := range size.files {
				folder := filepath.Join(source, fmt.Sprint("folder", i%10))
				_ = os.MkdirAll(folder, 0o755)
				data := make([]byte, size.bytes/size.files)
				_, _ = rand.Read(data)
				if err := os.WriteFile(filepath.Join(folder, fmt.Sprint(i)), data, 0o644); err != nil {
					b.Fatal(err)
				}
			}
			inGit(b, source, "init", "-q")
			inGit(b, source, "add", ".")
			inGit(b, source, "commit", "-qm", "x")
			builder := newBuilder(b)
			uploads := filepath.Join(builder.options.Data, "uploads")
			if err := os.Mkdir(uploads, 0o755); err != nil {
				b.Fatal(err)
			}
			var packing, building time.Duration
			for i := 0; b.Loop(); i++ {
				files{fmt.Sprint("new", i): rand.Text()}.write(b, source)
				upload := filepath.Join(uploads, fmt.Sprint(i))
				if err := os.Mkdir(upload, 0o755); err != nil {
					b.Fatal(err)
				}
				began := time.Now()
				reader, writer := io.Pipe()
				go func() {
					_, err := Pack(b.Context(), source, writer)
					writer.CloseWithError(err)
				}()
				if err := Unpack(b.Context(), reader, upload); err != nil {
					b.Fatal(err)
				}
				packed := time.Now()
				if _, err := builder.Build(b.Context(), Request{App: app("true"), Source: upload, Take: true}); err != nil {
					b.Fatal(err)
				}
				building += time.Since(packed)
				packing += packed.Sub(began)
			}
			b.ReportMetric(float64(packing.Milliseconds())/float64(b.N), "ms-pack+unpack/op")
			b.ReportMetric(float64(building.Milliseconds())/float64(b.N), "ms-build/op")
		})
	}
}
