// Attic is an app that keeps things in its shared folder: directly, and as S3.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	mux := http.NewServeMux()
	for pattern, handle := range map[string]func(*http.Request) (string, error){
		"PUT /direct/{name}": putDirect, "GET /direct/{name}": getDirect,
		"PUT /kept/{name}": put, "GET /kept/{name}": get, "GET /signed/{method}/{name}": signed,
		"GET /variables": variables, "GET /": func(*http.Request) (string, error) { return "the app", nil },
	} {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			answer, err := handle(r)
			if err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
			fmt.Fprint(w, answer)
		})
	}
	server := &http.Server{Addr: os.Getenv("HOST") + ":" + os.Getenv("PORT"), Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	ended := context.AfterFunc(ctx, func() { _ = server.Shutdown(context.Background()) })
	defer ended()
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// client speaks to S3 at a URL as the variables say.
func client(endpoint string) (*minio.Client, error) {
	parsed, err := url.Parse(endpoint)
	if err != nil {
		return nil, err
	}
	return minio.New(parsed.Host, &minio.Options{
		Creds:  credentials.NewStaticV4(os.Getenv("S3_ACCESS_KEY_ID"), os.Getenv("S3_SECRET_ACCESS_KEY"), ""),
		Secure: parsed.Scheme == "https", Region: os.Getenv("S3_REGION"), BucketLookup: minio.BucketLookupPath,
	})
}

func object(name string) (bucket, key string) {
	return os.Getenv("S3_BUCKET"), os.Getenv("S3_PREFIX") + name
}

func direct(r *http.Request) string {
	return filepath.Join(os.Getenv("FILES_UPLOADS"), filepath.Base(r.PathValue("name")))
}

func putDirect(r *http.Request) (string, error) {
	content, err := io.ReadAll(r.Body)
	if err != nil {
		return "", err
	}
	return "kept", os.WriteFile(direct(r), content, 0o640)
}

func getDirect(r *http.Request) (string, error) {
	content, err := os.ReadFile(direct(r))
	return string(content), err
}

func put(r *http.Request) (string, error) {
	s3, err := client(os.Getenv("S3_ENDPOINT"))
	if err != nil {
		return "", err
	}
	bucket, key := object(r.PathValue("name"))
	_, err = s3.PutObject(r.Context(), bucket, key, r.Body, r.ContentLength, minio.PutObjectOptions{})
	return "kept", err
}

func get(r *http.Request) (string, error) {
	s3, err := client(os.Getenv("S3_ENDPOINT"))
	if err != nil {
		return "", err
	}
	bucket, key := object(r.PathValue("name"))
	found, err := s3.GetObject(r.Context(), bucket, key, minio.GetObjectOptions{})
	if err != nil {
		return "", err
	}
	defer found.Close()
	content, err := io.ReadAll(found)
	return string(content), err
}

// signed gives a URL by which a browser may get or put a file, at the host that
// the app is asked by.
func signed(r *http.Request) (string, error) {
	s3, err := client("https://" + r.Host)
	if err != nil {
		return "", err
	}
	bucket, key := object(r.PathValue("name"))
	at, err := s3.Presign(r.Context(), strings.ToUpper(r.PathValue("method")), bucket, key, time.Minute, nil)
	if err != nil {
		return "", err
	}
	return at.String(), nil
}

// variables tells what the app was told. No app should.
func variables(*http.Request) (string, error) {
	told := slices.DeleteFunc(os.Environ(), func(pair string) bool {
		return !strings.HasPrefix(pair, "S3_") && !strings.HasPrefix(pair, "AWS_") && !strings.HasPrefix(pair, "FILES_")
	})
	slices.Sort(told)
	return strings.Join(told, "\n"), nil
}
